-- What was scored or learned before something that bears on it was known: found for claims that were sent ($1), for members
-- whom a submission named before ($2, $3), for claims that came to stand or fall for others ($4), and for claims that were
-- answered ($5). Their labels are noted for the learner; answered are the claims.
WITH changed AS (
    SELECT s.member_key, s.first_time AS since, s.id AS of, s.xmin::text::bigint AS writer FROM claim_submissions s
        WHERE s.claim_id = ANY($1::bigint[] || $4::bigint[]) AND s.member_key IS NOT NULL
    UNION ALL
    SELECT m.member_key, m.since, 0, 0 FROM unnest($2::bigint[], $3::timestamptz[]) AS m (member_key, since)
    UNION ALL
    -- A void under a number of its own names by the payer's number, which an answer may have told just now.
    SELECT s.member_key, s.first_time, s.id, 0 FROM claim_submissions s
        WHERE s.claim_id = ANY($5) AND s.member_key IS NOT NULL AND EXISTS (SELECT FROM claim_submissions v
            WHERE v.member_key = s.member_key AND v.frequency_code = '8' AND v.claim_id <> s.claim_id)
), late AS (
    -- No claim looks further back than over so many; a few more, for what was sent at the same time.
    SELECT l.id, l.claim_id FROM changed CROSS JOIN LATERAL (SELECT l.id, l.claim_id, l.first_time, l.version_time, l.xmin FROM claim_submissions l
        WHERE l.member_key = changed.member_key AND l.version_time >= changed.since
        ORDER BY l.member_key, l.version_time LIMIT $6) AS l
        -- What was stored with it was scored with it.
        WHERE l.first_time < l.version_time
           OR l.id <> changed.of AND NOT (changed.writer = $7 AND l.xmin::text::bigint = $7)
    UNION
    -- Other submissions of a claim go by its decisions.
    SELECT s.id, s.claim_id FROM claim_submissions s
        WHERE s.claim_id = ANY($5) AND (s.first_time < s.version_time OR EXISTS (SELECT FROM claim_submissions o
            WHERE o.claim_id = s.claim_id AND o.id <> s.id))
    UNION
    -- An earlier claim and a later one may be stored at once, neither seeing the other; and an earlier one may be reversed,
    -- voided or turned back (which its row tells) while a later one is stored. What this batch stored (by transaction $7)
    -- was scored with what snapshot $8 shows and with its own claims. What an attempt before stored was scored with what
    -- had been committed when it read, less than a minute earlier. `xmin` is the lower half of the number of the
    -- transaction that wrote a row.
    SELECT s.id, s.claim_id FROM claim_submissions s
        WHERE s.claim_id = ANY($1) AND EXISTS (SELECT FROM claim_submissions e JOIN claims c ON c.id = e.claim_id
            CROSS JOIN LATERAL (VALUES (e.created_at, e.xmin::text::bigint), (c.updated_at, c.xmin::text::bigint))
                AS written (at, writer)
            WHERE e.member_key = s.member_key AND e.version_time <= s.version_time AND e.id <> s.id
              AND CASE WHEN s.xmin::text::bigint <> $7 THEN written.at > s.created_at - interval '1 minute'
                  ELSE written.at > now() - interval '2 minutes' AND written.writer <> $7 AND NOT pg_visible_in_snapshot((
                  written.writer + ((pg_snapshot_xmax($8::text::pg_snapshot)::text::bigint - written.writer
                      + 2147483648) >> 32 << 32))::text::xid8, $8::text::pg_snapshot) END)
), noted AS (
    INSERT INTO label_changes (submission_id)
    SELECT o.submission_id FROM claim_outcomes o WHERE o.submission_id IN (SELECT id FROM late)
)
SELECT DISTINCT claim_id AS "claim_id!" FROM late
