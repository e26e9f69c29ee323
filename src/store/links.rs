//! The SQL of linking: which remittances a change may concern, which claims each could belong to, and the links' rows.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::UNIT_SEPARATOR;
use super::claims::column;
use super::reconcile::{Changes, forms_of};
use crate::domain::claim::Responsibility;
use crate::domain::link::{Candidate, Link, RemittanceKey, mangled_match};
use crate::domain::types::{Cents, Phi};
use crate::error::Failure;

/// A remittance as linking sees it.
pub(super) struct Remitted {
    pub(super) id: i64,
    pub(super) claim_id: Option<i64>,
    pub(super) payer_id: i64,
    pub(super) key: RemittanceKey,
}

fn phi(text: String) -> Phi<String> {
    Phi::new(text)
}

fn given(text: String) -> Option<Phi<String>> {
    if text.is_empty() { None } else { Some(phi(text)) }
}

/// The claim that a link decides for.
pub(super) fn linked_claim(link: &Link) -> Option<i64> {
    match link {
        Link::Linked { claim_id, .. } => Some(*claim_id),
        Link::Ambiguous { .. } | Link::None => None,
    }
}

/// All remittances whose link may depend on the given claims and remittances: by any rung of the ladder, and those
/// linked to the claims now.
pub(super) async fn reachable(
    connection: &mut PgConnection,
    claims: &[i64],
    remittances: &[i64],
) -> Result<Vec<i64>, Failure> {
    let mut reached: BTreeSet<i64> = remittances.iter().copied().collect();
    if !claims.is_empty() {
        reached.extend(from_claims(connection, claims).await?);
    }
    if remittances.is_empty() {
        return Ok(reached.into_iter().collect());
    }
    // A remittance with the same payer claim number lends its control number to its siblings.
    let siblings = sqlx::query_scalar!(
        "SELECT other.id FROM remittances r
         JOIN remittances other ON other.practice_id = r.practice_id AND other.payer_id = r.payer_id
              AND other.payer_claim_control_number = r.payer_claim_control_number
         WHERE r.id = ANY($1) AND length(r.payer_claim_control_number) >= 4 AND other.payer_claim_control_number <> ''
           AND other.patient_control_number <> r.patient_control_number
           -- One whose own number names a claim needs no sibling.
           AND NOT EXISTS (SELECT FROM claims x WHERE x.practice_id = other.practice_id
                           AND x.patient_control_number = other.patient_control_number)",
        remittances
    )
    .fetch_all(connection)
    .await?;
    reached.extend(siblings);
    Ok(reached.into_iter().collect())
}

async fn from_claims(connection: &mut PgConnection, claims: &[i64]) -> Result<Vec<i64>, Failure> {
    let rows = sqlx::query!(
        "SELECT id, practice_id, patient_control_number, payer_claim_control_number, member_id, service_date
         FROM claims WHERE id = ANY($1)",
        claims
    )
    .fetch_all(&mut *connection)
    .await?;
    let forms: Vec<(i64, String)> = rows
        .iter()
        .flat_map(|row| forms_of(&row.patient_control_number).into_iter().map(|form| (row.practice_id, form)))
        .collect();
    Ok(sqlx::query_scalar!(
        r#"WITH c AS (SELECT * FROM claims WHERE id = ANY($1))
           SELECT r.id AS "id!" FROM c JOIN remittances r ON r.practice_id = c.practice_id
                AND r.patient_control_number = c.patient_control_number
           UNION SELECT r.id FROM c JOIN remittances r ON r.practice_id = c.practice_id
                AND r.payer_claim_control_number = c.payer_claim_control_number AND r.payer_claim_control_number <> ''
           UNION SELECT r.id FROM unnest($2::bigint[], $3::text[]) AS f (practice_id, form)
                JOIN remittances r ON r.practice_id = f.practice_id AND r.control_number_key = f.form
           UNION SELECT r.id FROM c JOIN remittances r ON r.practice_id = c.practice_id
                AND r.member_id = c.member_id AND r.service_date = c.service_date
           UNION SELECT other.id FROM c JOIN remittances r ON r.practice_id = c.practice_id
                AND r.patient_control_number = c.patient_control_number
                JOIN remittances other ON other.practice_id = r.practice_id AND other.payer_id = r.payer_id
                AND other.payer_claim_control_number = r.payer_claim_control_number
                WHERE length(r.payer_claim_control_number) >= 4 AND other.payer_claim_control_number <> ''
                AND NOT EXISTS (SELECT FROM claims x WHERE x.practice_id = other.practice_id
                                AND x.patient_control_number = other.patient_control_number)
           UNION SELECT r.id FROM remittances r WHERE r.claim_id = ANY($1)
           -- A claim that changed may have been what made a remittance ambiguous, by keys it no longer has.
           UNION SELECT r.id FROM c JOIN remittances r ON r.practice_id = c.practice_id AND r.link_state = 'ambiguous'
                WHERE c.revision > 1"#,
        claims,
        &column!(forms, |form| form.0),
        &column!(forms, |form| form.1.clone())
    )
    .fetch_all(connection)
    .await?)
}

/// Locks remittances in the order of their ids and reads them as they are then.
pub(super) async fn lock(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<Remitted>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query!("SELECT id FROM remittances WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE", ids)
        .fetch_all(&mut *connection)
        .await?;
    // A statement of its own: only what begins after the locks are held sees what others committed before.
    let rows = sqlx::query!(
        r#"SELECT r.id, r.claim_id, r.payer_id, r.patient_control_number, r.payer_claim_control_number,
               r.claim_status_code, r.claim_frequency_code, r.member_id, r.service_date, r.service_to_date,
               (r.total_charge_amount * 100)::bigint AS "charge!", r.payment_date, p.payer_key
           FROM remittances r JOIN payers p ON p.id = r.payer_id WHERE r.id = ANY($1) ORDER BY r.id"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Remitted {
            id: row.id,
            claim_id: row.claim_id,
            payer_id: row.payer_id,
            key: RemittanceKey {
                patient_control_number: phi(row.patient_control_number),
                payer_key: Some(row.payer_key),
                payer_claim_control_number: given(row.payer_claim_control_number),
                status_code: row.claim_status_code,
                frequency_code: row.claim_frequency_code,
                member_id: row.member_id.map(phi),
                service_from: row.service_date,
                service_to: row.service_to_date,
                total_charge: Cents::new(row.charge),
                payment_date: row.payment_date,
            },
        })
        .collect())
}

/// The claims that each remittance could belong to, by any rung. Where the exact control number finds claims, the
/// lower rungs are not searched: they never win against it.
pub(super) async fn candidates(
    connection: &mut PgConnection,
    remittances: &[Remitted],
) -> Result<BTreeMap<i64, Vec<Candidate>>, Failure> {
    if remittances.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<i64> = remittances.iter().map(|row| row.id).collect();
    let mut pairs: Vec<Pair> = sqlx::query!(
        "SELECT r.id, c.id AS claim_id FROM remittances r
         JOIN claims c ON c.practice_id = r.practice_id AND c.patient_control_number = r.patient_control_number
         WHERE r.id = ANY($1)",
        &ids
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|row| Pair { remittance_id: row.id, claim_id: row.claim_id, sibling: false, by_number_only: false })
    .collect();
    let exact: BTreeSet<i64> = pairs.iter().map(|pair| pair.remittance_id).collect();
    let rest: Vec<i64> = ids.into_iter().filter(|id| !exact.contains(id)).collect();
    if !rest.is_empty() {
        pairs.extend(lower_rungs(connection, &rest).await?);
    }
    let mut described = describe(connection, &pairs).await?;
    Ok(remittances
        .iter()
        .filter_map(|remittance| {
            let number = remittance.key.patient_control_number.expose();
            // Similar to the eye of an index is not yet what a payer makes of a number; both directions must agree.
            let fits = |candidate: &Candidate| mangled_match(candidate.patient_control_number.expose(), number);
            let kept = described.remove(&remittance.id)?.into_iter();
            let kept = kept.filter(|(by_number_only, candidate)| !by_number_only || fits(candidate));
            Some((remittance.id, kept.map(|(_, candidate)| candidate).collect()))
        })
        .collect())
}

/// A remittance and a claim that it may belong to.
struct Pair {
    remittance_id: i64,
    claim_id: i64,
    /// Found through another remittance with the same payer claim number.
    sibling: bool,
    /// Found by a similar control number alone, which has to be looked at closely.
    by_number_only: bool,
}

/// Pairs by the rungs below the exact number.
async fn lower_rungs(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<Pair>, Failure> {
    // A number cut short is a prefix of the claim's; `~` sorts after every letter and digit. What begins more than a
    // hundred numbers tells none of them: one more is read, to see that.
    let rows = sqlx::query!(
        r#"WITH r AS (SELECT * FROM remittances WHERE id = ANY($1))
           SELECT found.id AS "id!", found.claim_id AS "claim_id!", bool_or(found.sibling) AS "sibling!",
               bool_or(found.by_number) AS "by_number!", bool_or(NOT found.by_number) AS "otherwise!" FROM (
               SELECT r.id, c.id AS claim_id, false AS sibling, false AS by_number FROM r JOIN claims c ON c.practice_id = r.practice_id
                   AND c.payer_claim_control_number = r.payer_claim_control_number
               UNION ALL
               SELECT r.id, c.id, true, false FROM r JOIN remittances other ON other.practice_id = r.practice_id
                   AND other.payer_id = r.payer_id
                   AND other.payer_claim_control_number = r.payer_claim_control_number
                   AND other.payer_claim_control_number <> ''
                   JOIN claims c ON c.practice_id = other.practice_id
                   AND c.patient_control_number = other.patient_control_number
                   WHERE length(r.payer_claim_control_number) >= 4
               UNION ALL
               SELECT r.id, c.id, false, true FROM r JOIN claims c ON c.practice_id = r.practice_id
                   AND c.control_number_key = r.control_number_key
               UNION ALL
               SELECT r.id, c.id, false, true FROM r CROSS JOIN LATERAL (SELECT c.id FROM claims c
                   WHERE c.practice_id = r.practice_id AND c.control_number_key > r.control_number_key
                     AND c.control_number_key < r.control_number_key || '~'
                   ORDER BY c.practice_id, c.control_number_key, c.id LIMIT 101) AS c
                   WHERE length(r.control_number_key) >= 8
               UNION ALL
               SELECT r.id, c.id, false, false FROM r JOIN claims c ON c.practice_id = r.practice_id
                   AND c.member_id = r.member_id AND c.service_date = r.service_date
           ) AS found GROUP BY found.id, found.claim_id"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    let mut similar: BTreeMap<i64, usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.by_number) {
        *similar.entry(row.id).or_default() += 1;
    }
    let telling = |id: i64| similar.get(&id).is_none_or(|count| *count <= 100);
    Ok(rows
        .into_iter()
        .filter(|row| row.otherwise || telling(row.id))
        .map(|row| Pair {
            remittance_id: row.id,
            claim_id: row.claim_id,
            sibling: row.sibling,
            by_number_only: !row.otherwise,
        })
        .collect())
}

/// Candidates by remittance, each with whether it was found by a similar control number alone.
type Described = BTreeMap<i64, Vec<(bool, Candidate)>>;

async fn describe(connection: &mut PgConnection, pairs: &[Pair]) -> Result<Described, Failure> {
    let claims: BTreeSet<i64> = pairs.iter().map(|pair| pair.claim_id).collect();
    let ids: Vec<i64> = claims.into_iter().collect();
    let rows = sqlx::query!(
        r#"SELECT c.id, c.patient_control_number, c.responsibility, p.payer_key, c.claim_frequency_type,
               c.payer_claim_control_number, c.member_id, c.service_date, c.service_to_date, c.submitted_at,
               (c.total_charge_amount * 100)::bigint AS "charge!"
           FROM claims c JOIN payers p ON p.id = c.payer_id WHERE c.id = ANY($1)"#,
        &ids
    )
    .fetch_all(connection)
    .await?;
    let known: BTreeMap<i64, Candidate> = rows
        .into_iter()
        .map(|row| {
            let candidate = Candidate {
                claim_id: row.id,
                patient_control_number: phi(row.patient_control_number),
                responsibility: Responsibility::parse(&row.responsibility).unwrap_or_default(),
                payer_key: Some(row.payer_key),
                frequency_code: row.claim_frequency_type,
                payer_claim_control_number: row.payer_claim_control_number.map(phi),
                member_id: row.member_id.map(phi),
                service_from: row.service_date,
                service_to: row.service_to_date,
                total_charge: Cents::new(row.charge),
                sibling: false,
                submitted_at: row.submitted_at,
            };
            (row.id, candidate)
        })
        .collect();
    let mut candidates = Described::new();
    for pair in pairs {
        let Some(candidate) = known.get(&pair.claim_id) else { continue };
        candidates
            .entry(pair.remittance_id)
            .or_default()
            .push((pair.by_number_only, Candidate { sibling: pair.sibling, ..candidate.clone() }));
    }
    Ok(candidates)
}

/// Writes the links that differ from what is stored, and their episodes.
pub(super) async fn write(
    connection: &mut PgConnection,
    remittances: &[Remitted],
    decided: &[Link],
    changes: &mut Changes,
) -> Result<(), Failure> {
    let mut moved: Vec<(&Remitted, &Link)> = Vec::new();
    for (remittance, link) in remittances.iter().zip(decided) {
        let claim_id = linked_claim(link);
        changes.links.insert(remittance.id, claim_id);
        changes.payers.insert(remittance.payer_id);
        if claim_id != remittance.claim_id || claim_id.is_none() {
            moved.push((remittance, link));
        }
    }
    if !moved.is_empty() {
        write_states(connection, &moved, changes).await?;
    }
    let linked: Vec<(&Remitted, &Link)> =
        remittances.iter().zip(decided).filter(|(_, link)| linked_claim(link).is_some()).collect();
    if !linked.is_empty() {
        write_episodes(connection, &linked, changes).await?;
    }
    Ok(())
}

async fn write_states(
    connection: &mut PgConnection,
    moved: &[(&Remitted, &Link)],
    changes: &mut Changes,
) -> Result<(), Failure> {
    let state = |link: &Link| match link {
        Link::Linked { .. } => "linked",
        Link::Ambiguous { .. } => "ambiguous",
        Link::None => "unlinked",
    };
    let ids: Vec<i64> = moved.iter().map(|(remittance, _)| remittance.id).collect();
    let claims: Vec<Option<i64>> = moved.iter().map(|(_, link)| linked_claim(link)).collect();
    let states: Vec<&str> = moved.iter().map(|(_, link)| state(link)).collect();
    let removed = sqlx::query_scalar!(
        "DELETE FROM claim_episodes e USING unnest($1::bigint[], $2::bigint[]) AS m (remittance_id, claim_id)
         WHERE e.remittance_id = m.remittance_id AND e.claim_id IS DISTINCT FROM m.claim_id RETURNING e.id",
        &ids,
        &claims as _
    )
    .fetch_all(&mut *connection)
    .await?;
    changes.removed_episodes.extend(removed);
    let changed = sqlx::query_scalar!(
        "UPDATE remittances r SET claim_id = m.claim_id, link_state = m.state, revision = r.revision + 1, updated_at = now()
         FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS m (id, claim_id, state)
         WHERE r.id = m.id AND (r.claim_id, r.link_state) IS DISTINCT FROM (m.claim_id, m.state) RETURNING r.id",
        &ids,
        &claims as _,
        &states as _
    )
    .fetch_all(connection)
    .await?;
    changes.remittances.extend(changed);
    Ok(())
}

/// One episode per link; an episode whose facts are unchanged keeps its row.
async fn write_episodes(
    connection: &mut PgConnection,
    linked: &[(&Remitted, &Link)],
    changes: &mut Changes,
) -> Result<(), Failure> {
    let (mut ids, mut claims, mut methods, mut confidences) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut evidences, mut runners, mut runner_confidences) = (Vec::new(), Vec::new(), Vec::new());
    for (remittance, link) in linked {
        let Link::Linked { claim_id, method, confidence_permille, evidence, runner_up } = link else { continue };
        ids.push(remittance.id);
        claims.push(*claim_id);
        methods.push(method.as_str());
        confidences.push(i64::from(*confidence_permille));
        let names: Vec<&str> = evidence.iter().map(|fact| fact.as_str()).collect();
        evidences.push(names.join(UNIT_SEPARATOR));
        runners.push(runner_up.map(|(claim_id, _)| claim_id));
        runner_confidences.push(runner_up.map(|(_, confidence)| i64::from(confidence)));
    }
    let written = sqlx::query_scalar!(
        "INSERT INTO claim_episodes AS e (claim_id, remittance_id, status, payment_amount, denial_count, adjustment_count,
             link_method, link_confidence, link_evidence, runner_up_claim_id, runner_up_confidence)
         SELECT m.claim_id, r.id, r.adjudication, r.payment_amount, r.denial_count, r.adjustment_count, m.method,
             m.confidence::numeric / 1000, string_to_array(m.evidence, $8), m.runner_up, m.runner_confidence::numeric / 1000
         FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[])
             AS m (remittance_id, claim_id, method, confidence, evidence, runner_up, runner_confidence)
         JOIN remittances r ON r.id = m.remittance_id
         ORDER BY r.id
         ON CONFLICT (remittance_id) DO UPDATE SET claim_id = excluded.claim_id, status = excluded.status,
             payment_amount = excluded.payment_amount, denial_count = excluded.denial_count,
             adjustment_count = excluded.adjustment_count, link_method = excluded.link_method,
             link_confidence = excluded.link_confidence, link_evidence = excluded.link_evidence,
             runner_up_claim_id = excluded.runner_up_claim_id, runner_up_confidence = excluded.runner_up_confidence,
             revision = e.revision + 1, updated_at = now()
         WHERE (e.claim_id, e.status, e.payment_amount, e.denial_count, e.adjustment_count, e.link_method,
                e.link_confidence, e.link_evidence, e.runner_up_claim_id, e.runner_up_confidence)
             IS DISTINCT FROM (excluded.claim_id, excluded.status, excluded.payment_amount, excluded.denial_count,
                excluded.adjustment_count, excluded.link_method, excluded.link_confidence, excluded.link_evidence,
                excluded.runner_up_claim_id, excluded.runner_up_confidence)
         RETURNING e.id",
        &ids,
        &claims,
        &methods as _,
        &confidences,
        &evidences,
        &runners as _,
        &runner_confidences as _,
        UNIT_SEPARATOR
    )
    .fetch_all(connection)
    .await?;
    changes.episodes.extend(written);
    Ok(())
}
