//! What payers deny: counts per payer, procedure and reason, recomputed from the remittances, and read back with
//! intervals.
//!
//! Counted are the lines of remittances that decided something (paid, partial, denied), so neither reversals nor pending
//! ones. A remittance without lines counts as one line. Recomputing is exact and may be repeated at any time.

use sqlx::PgPool;

use crate::cache::{Entity, Entry};
use crate::view::{PatternView, PayerPatternsView, PayerView};

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % interval of a rate, after Wilson (1927): sensible for small counts too, and never outside of 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "counts of lines are far below 2^53")]
pub fn wilson(hits: i64, of: i64) -> (f64, f64) {
    if of <= 0 {
        return (0.0, 1.0);
    }
    let (hits, of) = (hits.clamp(0, of) as f64, of as f64);
    let rate = hits / of;
    let scale = 1.0 + Z * Z / of;
    let centre = (rate + Z * Z / (2.0 * of)) / scale;
    let half = Z / scale * (rate * (1.0 - rate) / of + Z * Z / (4.0 * of * of)).sqrt();
    // At the ends the formula gives exactly 0 and 1, up to rounding.
    let low = if hits <= 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if hits >= of { 1.0 } else { (centre + half).min(1.0) };
    (low, high)
}

/// Recomputes the patterns of payers (table ids) from their remittances. Rows that are right already are not written. To
/// be cut short by a deadline of `store::deadline` alone.
///
/// # Errors
/// PostgreSQL is away or busy; nothing is changed then.
pub async fn refresh(pool: &PgPool, payer_ids: &[i64]) -> Result<(), sqlx::Error> {
    // Counting a payer's lines goes by the indexes of payer and remittance, however many lines it has.
    let mut transaction = pool.begin_with("BEGIN; SET LOCAL enable_seqscan = off").await?;
    // One statement, one snapshot. The share of an adjustment of the whole claim that falls on a line goes by charge,
    // as in the judgement that made the line's `denial_reasons`.
    sqlx::query!(
        r#"WITH parts AS (
               SELECT r.payer_id, l.id AS part, r.id AS remittance_id,
                   coalesce(nullif(l.procedure_code, ''), 'REV:' || nullif(l.revenue_code, ''), 'NONE') AS procedure_code,
                   l.denial_reasons, l.outcome, l.adjustments, r.adjustments AS claim_adjustments,
                   coalesce(l.charge_amount / nullif(sum(l.charge_amount) OVER (PARTITION BY r.id), 0), 0) AS share
               FROM remittances r JOIN remittance_lines l ON l.remittance_id = r.id
               WHERE r.payer_id = ANY($1) AND r.adjudication IN ('paid', 'partial', 'denied')
               UNION ALL
               SELECT r.payer_id, -r.id, r.id, 'NONE', r.denial_reasons,
                   CASE r.adjudication WHEN 'denied' THEN 'denied' WHEN 'partial' THEN 'reduced' ELSE 'paid' END,
                   r.adjustments, '[]', 0
               FROM remittances r
               WHERE r.payer_id = ANY($1) AND r.adjudication IN ('paid', 'partial', 'denied')
                 AND NOT EXISTS (SELECT FROM remittance_lines l WHERE l.remittance_id = r.id)
           ), decided AS (
               SELECT * FROM parts WHERE outcome <> 'no_decision'
           ), denied AS (
               SELECT d.payer_id, d.procedure_code, d.part, reason, coalesce(sum(a.amount), 0) AS amount
               FROM decided d CROSS JOIN LATERAL unnest(d.denial_reasons) AS reason
               LEFT JOIN LATERAL (
                   SELECT upper(btrim(x.group_code)) || '-' || upper(ltrim(btrim(x.reason_code), '0')) AS reason_code,
                       x.amount FROM jsonb_to_recordset(d.adjustments)
                       AS x (group_code text, reason_code text, amount numeric)
                   UNION ALL
                   SELECT upper(btrim(x.group_code)) || '-' || upper(ltrim(btrim(x.reason_code), '0')), x.amount * d.share
                   FROM jsonb_to_recordset(d.claim_adjustments)
                       AS x (group_code text, reason_code text, amount numeric)
               ) AS a ON a.reason_code = reason AND a.amount > 0
               GROUP BY d.payer_id, d.procedure_code, d.part, reason
           ), lines AS (
               SELECT payer_id, coalesce(procedure_code, '') AS procedure_code, count(*) AS line_count
               FROM decided GROUP BY GROUPING SETS ((payer_id, procedure_code), (payer_id))
           ), denials AS (
               SELECT payer_id, coalesce(procedure_code, '') AS procedure_code, coalesce(reason, '') AS reason_code,
                   count(DISTINCT part) AS denied_count, least(round(sum(amount), 2), 999999999999.99) AS denied_amount
               FROM denied GROUP BY GROUPING SETS ((payer_id, procedure_code, reason), (payer_id, procedure_code),
                   (payer_id, reason), (payer_id))
           ), fresh AS (
               SELECT n.payer_id, n.procedure_code, k.reason_code, coalesce(d.denied_count, 0) AS denied_count,
                   n.line_count, coalesce(d.denied_amount, 0) AS denied_amount
               FROM lines n
               CROSS JOIN LATERAL (
                   SELECT '' AS reason_code
                   UNION SELECT e.reason_code FROM denials e
                   WHERE e.payer_id = n.payer_id AND e.procedure_code = n.procedure_code
               ) AS k
               LEFT JOIN denials d ON d.payer_id = n.payer_id AND d.procedure_code = n.procedure_code
                   AND d.reason_code = k.reason_code
           ), gone AS (
               DELETE FROM denial_patterns p WHERE p.payer_id = ANY($1) AND NOT EXISTS (
                   SELECT FROM fresh f WHERE (f.payer_id, f.procedure_code, f.reason_code)
                       = (p.payer_id, p.procedure_code, p.reason_code))
           )
           INSERT INTO denial_patterns AS p (payer_id, procedure_code, reason_code, denied_count, line_count, denied_amount)
           SELECT payer_id, procedure_code, reason_code, denied_count, line_count, denied_amount FROM fresh
           ORDER BY payer_id, procedure_code, reason_code
           ON CONFLICT ON CONSTRAINT denial_patterns_identity DO UPDATE SET denied_count = excluded.denied_count,
               line_count = excluded.line_count, denied_amount = excluded.denied_amount, updated_at = now()
           WHERE (p.denied_count, p.line_count, p.denied_amount)
               IS DISTINCT FROM (excluded.denied_count, excluded.line_count, excluded.denied_amount)"#,
        payer_ids
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// What a payer (table id) denies; `None` when there is no such payer.
///
/// # Errors
/// PostgreSQL is away.
pub async fn load(pool: &PgPool, payer_id: i64) -> Result<Option<PayerPatternsView>, sqlx::Error> {
    let payer = sqlx::query_as!(PayerView, "SELECT payer_key AS payer_id, name FROM payers WHERE id = $1", payer_id)
        .fetch_optional(pool)
        .await?;
    let Some(payer) = payer else { return Ok(None) };
    let rows = sqlx::query!(
        r#"SELECT procedure_code, reason_code, denied_count, line_count, denied_amount::text AS "denied_amount!", updated_at
           FROM denial_patterns WHERE payer_id = $1 ORDER BY denied_count DESC, procedure_code, reason_code"#,
        payer_id
    )
    .fetch_all(pool)
    .await?;
    let mut view = PayerPatternsView {
        payer_id,
        payer,
        overall: pattern(None, None, 0, 0, "0.00".to_owned()),
        reasons: Vec::new(),
        procedures: Vec::new(),
        patterns: Vec::new(),
        updated_at: rows.iter().map(|row| row.updated_at).max(),
    };
    for row in rows {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let (procedure, reason) = (given(row.procedure_code), given(row.reason_code));
        let list = match (&procedure, &reason) {
            (None, None) => None,
            (None, Some(_)) => Some(&mut view.reasons),
            (Some(_), None) => Some(&mut view.procedures),
            (Some(_), Some(_)) => Some(&mut view.patterns),
        };
        let pattern = pattern(procedure, reason, row.denied_count, row.line_count, row.denied_amount);
        match list {
            Some(list) => list.push(pattern),
            None => view.overall = pattern,
        }
    }
    Ok(Some(view))
}

#[expect(clippy::cast_precision_loss, reason = "counts of lines are far below 2^53")]
fn pattern(
    procedure_code: Option<String>,
    reason_code: Option<String>,
    denied_count: i64,
    line_count: i64,
    denied_amount: String,
) -> PatternView {
    let (denial_rate_low, denial_rate_high) = wilson(denied_count, line_count);
    let denial_rate = if line_count > 0 { denied_count as f64 / line_count as f64 } else { 0.0 };
    PatternView {
        procedure_code,
        reason_code,
        denied_count,
        line_count,
        denied_amount,
        denial_rate,
        denial_rate_low,
        denial_rate_high,
    }
}

/// The version of a payer's patterns: the time of the last change in microseconds, and the number of rows, so that a row
/// that goes tells too. Zero while there are none.
pub fn version(view: &PayerPatternsView) -> i64 {
    let rows = 1 + view.reasons.len() + view.procedures.len() + view.patterns.len();
    view.updated_at.map_or(0, |at| at.timestamp_micros().saturating_add(i64::try_from(rows).unwrap_or(0)))
}

/// [`version`] without the patterns.
///
/// # Errors
/// PostgreSQL is away.
pub async fn committed(pool: &PgPool, payer_id: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT coalesce((extract(epoch FROM max(updated_at)) * 1000000)::bigint + count(*), 0) AS "version!"
           FROM denial_patterns WHERE payer_id = $1"#,
        payer_id
    )
    .fetch_one(pool)
    .await
}

/// The cache entry of a payer's patterns.
pub fn entry(view: &PayerPatternsView) -> Option<Entry> {
    Entry::new(Entity::Pattern, view.payer_id, version(view), view)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: the formula worked out by another program, to four places.
    #[test]
    fn wilson_intervals_are_those_of_the_formula() {
        let close = |(low, high): (f64, f64), expected: (f64, f64)| {
            assert!((low - expected.0).abs() < 1e-4 && (high - expected.1).abs() < 1e-4, "{low} {high}");
        };
        close(wilson(5, 10), (0.2366, 0.7634));
        close(wilson(0, 10), (0.0, 0.2775));
        close(wilson(10, 10), (0.7225, 1.0));
        close(wilson(1, 1000), (0.0002, 0.0056));
    }

    #[test]
    fn nothing_seen_says_nothing() {
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }
}
