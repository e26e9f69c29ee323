//! Stores remittances with their lines, and acknowledgements. In bulk, arrays in, ids out.
//!
//! What a remittance says of its claim is judged before and stored in its columns, so that outcomes can be computed anew
//! from rows. Linking is not done here.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::UNIT_SEPARATOR;
use super::apply::Item;
use super::claims::column;
use crate::domain::link::normalise_control_number;
use crate::domain::outcome::Judged;
use crate::domain::remittance::{Adjustment, Remittance};
use crate::domain::types::{Cents, Instant, Units};
use crate::error::Failure;
use crate::view::{AdjustmentView, ProviderAdjustmentView};
use crate::wire::{Payload, Reason};

/// What makes a remittance the same: practice, control number, payer, trace, payer's claim number, ordinal.
type Identity<'a> = (i64, &'a str, i64, &'a str, &'a str, i32);

#[derive(Clone, Copy)]
struct Row<'a> {
    place: usize,
    identity: Identity<'a>,
    remittance: &'a Remittance,
    judged: &'a Judged,
    version: (Instant, &'a str),
}

/// Stores the remittances of a batch and notes in each item where it went.
pub(super) async fn store(connection: &mut PgConnection, items: &mut [Item<'_>]) -> Result<(), Failure> {
    let rows = rows(items)?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut newest: BTreeMap<Identity<'_>, Row<'_>> = BTreeMap::new();
    for row in &rows {
        let best = newest.entry(row.identity).or_insert(*row);
        if best.version < row.version {
            *best = *row;
        }
    }
    let heads: Vec<Row<'_>> = newest.values().copied().collect();
    let written = upsert(connection, &heads).await?;
    let ids = with_older(connection, &heads, &written).await?;
    replace_lines(connection, &heads, &written).await?;
    for row in &rows {
        let item = &mut items[row.place];
        item.stored.remittance_id = ids.get(&row.identity).copied();
        let is_newest = newest.get(&row.identity).is_some_and(|best| best.place == row.place);
        item.stored.superseded = !(is_newest && written.contains_key(&row.identity));
    }
    Ok(())
}

fn rows<'a>(items: &[Item<'a>]) -> Result<Vec<Row<'a>>, Failure> {
    let mut rows = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let Some((remittance, judged)) = item.remittance() else { continue };
        let payer_id =
            item.payer_id.ok_or_else(|| Failure::Permanent(Reason::Internal, "payer without an id".to_owned()))?;
        let identity = (
            item.practice_id,
            remittance.patient_control_number.expose().as_str(),
            payer_id,
            remittance.trace_number.as_deref().unwrap_or_default(),
            remittance.payer_claim_control_number.as_ref().map_or("", |number| number.expose()),
            i32::try_from(remittance.claim_ordinal).unwrap_or(i32::MAX),
        );
        let event = &item.work.event;
        rows.push(Row { place, identity, remittance, judged, version: (event.time, &event.id) });
    }
    Ok(rows)
}

fn adjustments_json(adjustments: &[Adjustment]) -> String {
    let views: Vec<AdjustmentView> = adjustments.iter().map(AdjustmentView::from).collect();
    serde_json::to_string(&views).unwrap_or_else(|_| "[]".to_owned())
}

fn provider_adjustments_json(remittance: &Remittance) -> String {
    let views: Vec<ProviderAdjustmentView> =
        remittance.provider_adjustments.iter().map(ProviderAdjustmentView::from).collect();
    serde_json::to_string(&views).unwrap_or_else(|_| "[]".to_owned())
}

/// `CO-197` and so on, of denials only.
fn reasons(denials: &[(String, String, Cents)]) -> String {
    let codes: Vec<String> = denials.iter().map(|(group, reason, _)| format!("{group}-{reason}")).collect();
    codes.join(UNIT_SEPARATOR)
}

fn flags(judged: &Judged) -> String {
    let quality = judged.data_quality;
    let all = [
        (quality.unbalanced, "unbalanced"),
        (quality.status4_without_denial, "status4_without_denial"),
        (quality.unclassified_code, "unclassified_code"),
        (judged.patient_liable, "patient_liable"),
    ];
    let set: Vec<&str> = all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    set.join(UNIT_SEPARATOR)
}

fn denial_groups(judged: &Judged) -> String {
    let groups: Vec<&str> = judged.denial_groups.iter().map(|group| group.as_str()).collect();
    groups.join(UNIT_SEPARATOR)
}

/// Inserts new remittances and updates those whose row is older; answers the ids of those written, and whether new.
async fn upsert<'a>(
    connection: &mut PgConnection,
    heads: &[Row<'a>],
) -> Result<BTreeMap<Identity<'a>, (i64, bool)>, Failure> {
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let member = |row: &Row<'a>| row.remittance.member_id.as_ref().map(|member| member.expose().as_str());
    let answer = sqlx::query_file!(
        "src/store/sql/upsert_remittances.sql",
        &column!(heads, |row| row.identity.0),
        &column!(heads, |row| row.identity.1) as _,
        &column!(heads, |row| normalise_control_number(row.identity.1)),
        &column!(heads, |row| row.identity.2),
        &column!(heads, |row| row.identity.3) as _,
        &column!(heads, |row| row.identity.4) as _,
        &column!(heads, |row| row.identity.5),
        &column!(heads, |row| row.remittance.status_code.as_str()) as _,
        &column!(heads, |row| row.remittance.frequency_code.as_deref()) as _,
        &column!(heads, |row| row.remittance.payment_date) as _,
        &column!(heads, |row| row.remittance.total_charge.get()),
        &column!(heads, |row| row.remittance.payment.get()),
        &column!(heads, |row| row.remittance.patient_responsibility.map(Cents::get)) as _,
        &column!(heads, |row| member(row)) as _,
        &column!(heads, |row| row.remittance.service_date()) as _,
        &column!(heads, |row| row.remittance.service_to) as _,
        &column!(heads, |row| row.remittance.crossover_payer.as_deref()) as _,
        &column!(heads, |row| row.remittance.remark_codes.join(UNIT_SEPARATOR)),
        &column!(heads, |row| adjustments_json(&row.remittance.adjustments)),
        &column!(heads, |row| provider_adjustments_json(row.remittance)),
        &column!(heads, |row| row.judged.adjudication.as_str()) as _,
        &column!(heads, |row| row.judged.denied_amount.get()),
        &column!(heads, |row| count(row.judged.denial_count)),
        &column!(heads, |row| count(row.judged.adjustment_count)),
        &column!(heads, |row| reasons(&row.judged.denial_carcs)),
        &column!(heads, |row| denial_groups(row.judged)),
        &column!(heads, |row| flags(row.judged)),
        &column!(heads, |row| row.version.0),
        &column!(heads, |row| row.version.1) as _,
        UNIT_SEPARATOR
    )
    .fetch_all(connection)
    .await?;
    let mut written: BTreeMap<Identity<'a>, (i64, bool)> = BTreeMap::new();
    let by_identity: BTreeMap<Identity<'_>, (i64, bool)> = answer
        .iter()
        .map(|row| {
            let identity = (
                row.practice_id,
                row.patient_control_number.as_str(),
                row.payer_id,
                row.trace_number.as_str(),
                row.payer_claim_control_number.as_str(),
                row.claim_ordinal,
            );
            (identity, (row.id, row.inserted))
        })
        .collect();
    for row in heads {
        written.extend(by_identity.get(&row.identity).map(|found| (row.identity, *found)));
    }
    Ok(written)
}

/// Adds the ids of remittances whose rows were newer than the batch.
async fn with_older<'a>(
    connection: &mut PgConnection,
    heads: &[Row<'a>],
    written: &BTreeMap<Identity<'a>, (i64, bool)>,
) -> Result<BTreeMap<Identity<'a>, i64>, Failure> {
    let mut ids: BTreeMap<Identity<'a>, i64> = written.iter().map(|(key, (id, _))| (*key, *id)).collect();
    let older: Vec<Identity<'a>> = heads.iter().map(|row| row.identity).filter(|key| !ids.contains_key(key)).collect();
    if older.is_empty() {
        return Ok(ids);
    }
    let rows = sqlx::query!(
        r#"SELECT t.id, r.place AS "place!"
           FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::int[])
               WITH ORDINALITY AS r (practice_id, number, payer_id, trace, payer_number, ordinal, place)
           JOIN remittances t ON t.practice_id = r.practice_id AND t.patient_control_number = r.number
               AND t.payer_id = r.payer_id AND t.trace_number = r.trace
               AND t.payer_claim_control_number = r.payer_number AND t.claim_ordinal = r.ordinal"#,
        &column!(older, |key| key.0),
        &column!(older, |key| key.1) as _,
        &column!(older, |key| key.2),
        &column!(older, |key| key.3) as _,
        &column!(older, |key| key.4) as _,
        &column!(older, |key| key.5)
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let key = usize::try_from(row.place - 1).ok().and_then(|place| older.get(place));
        ids.extend(key.map(|key| (*key, row.id)));
    }
    Ok(ids)
}

/// The remittance's lines are those of its newest event.
async fn replace_lines<'a>(
    connection: &mut PgConnection,
    heads: &[Row<'a>],
    written: &BTreeMap<Identity<'a>, (i64, bool)>,
) -> Result<(), Failure> {
    let updated: Vec<i64> = written.values().filter(|(_, inserted)| !inserted).map(|(id, _)| *id).collect();
    if !updated.is_empty() {
        sqlx::query!("DELETE FROM remittance_lines WHERE remittance_id = ANY($1)", &updated)
            .execute(&mut *connection)
            .await?;
    }
    let mut lines = Vec::new();
    for row in heads {
        let Some((id, _)) = written.get(&row.identity) else { continue };
        let outcomes = row.judged.lines.iter();
        lines.extend(row.remittance.lines.iter().zip(outcomes).zip(1_i32..).map(|((line, o), n)| (*id, n, line, o)));
    }
    sqlx::query!(
        "INSERT INTO remittance_lines (remittance_id, line_number, control_number, procedure_code, modifiers,
             revenue_code, charge_amount, payment_amount, units, service_date_from, service_date_to, adjustments,
             denial_reasons, remark_codes, outcome)
         SELECT remittance_id, number, control, code, string_to_array(modifiers, $16), revenue, charge::numeric / 100,
             payment::numeric / 100, units::numeric / 1000, from_date, to_date, adjustments::jsonb,
             string_to_array(reasons, $16), string_to_array(remarks, $16), outcome
         FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
             $9::bigint[], $10::date[], $11::date[], $12::text[], $13::text[], $14::text[], $15::text[])
             AS r (remittance_id, number, control, code, modifiers, revenue, charge, payment, units, from_date, to_date,
                   adjustments, reasons, remarks, outcome)",
        &column!(lines, |line| line.0),
        &column!(lines, |line| line.1),
        &column!(lines, |line| line.2.control_number.as_ref().map(|number| number.expose().as_str())) as _,
        &column!(lines, |line| line.2.procedure_code.as_deref()) as _,
        &column!(lines, |line| line.2.modifiers.join(UNIT_SEPARATOR)),
        &column!(lines, |line| line.2.revenue_code.as_deref()) as _,
        &column!(lines, |line| line.2.charge.get()),
        &column!(lines, |line| line.2.payment.get()),
        &column!(lines, |line| line.2.units.map(Units::thousandths)) as _,
        &column!(lines, |line| line.2.service_from) as _,
        &column!(lines, |line| line.2.service_to) as _,
        &column!(lines, |line| adjustments_json(&line.2.adjustments)),
        &column!(lines, |line| reasons(&line.3.denial_carcs)),
        &column!(lines, |line| line.2.remark_codes.join(UNIT_SEPARATOR)),
        &column!(lines, |line| line.3.verdict.as_str()) as _,
        UNIT_SEPARATOR
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores acknowledgements: the newest word per claim. The claims they are about are found in the second transaction.
pub(super) async fn store_acknowledgements(
    connection: &mut PgConnection,
    items: &mut [Item<'_>],
) -> Result<(), Failure> {
    type Key<'a> = (i64, &'a str);
    let mut newest: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    for (place, item) in items.iter().enumerate() {
        let Payload::Acknowledgement(acknowledgement) = &item.work.event.payload else { continue };
        let best = newest.entry((item.practice_id, acknowledgement.patient_control_number.expose())).or_insert(place);
        if items[*best].version() < item.version() {
            *best = place;
        }
    }
    let heads: Vec<(&Item<'_>, &crate::domain::remittance::Acknowledgement)> = newest
        .values()
        .filter_map(|place| match &items[*place].work.event.payload {
            Payload::Acknowledgement(acknowledgement) => Some((&items[*place], acknowledgement)),
            Payload::Claim(_) | Payload::Remittance(_) => None,
        })
        .collect();
    if heads.is_empty() {
        return Ok(());
    }
    let written = sqlx::query_scalar!(
        r#"INSERT INTO claim_acknowledgements AS a (practice_id, patient_control_number, accepted, category_code,
               status_code, version_time, version_id)
           SELECT * FROM unnest($1::bigint[], $2::text[], $3::bool[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
           ON CONFLICT ON CONSTRAINT claim_acknowledgements_identity DO UPDATE SET
               accepted = excluded.accepted, category_code = excluded.category_code, status_code = excluded.status_code,
               version_time = excluded.version_time, version_id = excluded.version_id
           WHERE (excluded.version_time, excluded.version_id) > (a.version_time, a.version_id)
           RETURNING id"#,
        &column!(heads, |head| head.0.practice_id),
        &column!(heads, |head| head.1.patient_control_number.expose().as_str()) as _,
        &column!(heads, |head| head.1.accepted),
        &column!(heads, |head| head.1.category_code.as_deref()) as _,
        &column!(heads, |head| head.1.status_code.as_deref()) as _,
        &column!(heads, |head| head.0.version().0),
        &column!(heads, |head| head.0.version().1) as _
    )
    .fetch_all(&mut *connection)
    .await?;
    note_acknowledgements(connection, items, &written).await
}

/// Notes in each acknowledgement's item which row it went to, and whether a newer one was there.
async fn note_acknowledgements(
    connection: &mut PgConnection,
    items: &mut [Item<'_>],
    written: &[i64],
) -> Result<(), Failure> {
    let mut keys = Vec::new();
    for item in items.iter() {
        if let Payload::Acknowledgement(acknowledgement) = &item.work.event.payload {
            keys.push((item.practice_id, acknowledgement.patient_control_number.expose().clone()));
        }
    }
    let rows = sqlx::query!(
        "SELECT a.id, a.practice_id, a.patient_control_number, a.version_time, a.version_id
         FROM unnest($1::bigint[], $2::text[]) AS k (practice_id, number)
         JOIN claim_acknowledgements a ON a.practice_id = k.practice_id AND a.patient_control_number = k.number",
        &column!(keys, |key| key.0),
        &column!(keys, |key| key.1.clone())
    )
    .fetch_all(connection)
    .await?;
    let newest: BTreeMap<(i64, &str), (i64, Instant, &str)> = rows
        .iter()
        .map(|row| {
            let key = (row.practice_id, row.patient_control_number.as_str());
            (key, (row.id, row.version_time, row.version_id.as_str()))
        })
        .collect();
    let fresh: BTreeSet<i64> = written.iter().copied().collect();
    for item in items.iter_mut() {
        let Payload::Acknowledgement(acknowledgement) = &item.work.event.payload else { continue };
        let key = (item.practice_id, acknowledgement.patient_control_number.expose().as_str());
        if let Some((id, time, version_id)) = newest.get(&key) {
            item.stored.acknowledgement_id = Some(*id);
            item.stored.superseded = !(fresh.contains(id) && item.version() == (*time, *version_id));
        }
    }
    Ok(())
}
