-- Inserts new remittances and updates those whose row is older. Rows of newer versions are left alone and not answered.
INSERT INTO remittances AS t (practice_id, patient_control_number, control_number_key, payer_id, trace_number,
    payer_claim_control_number, claim_ordinal, claim_status_code, claim_frequency_code, payment_date,
    total_charge_amount, payment_amount, patient_responsibility_amount, member_id, service_date,
    service_to_date, crossover_payer, remark_codes, adjustments, provider_adjustments, adjudication,
    denied_amount, denial_count, adjustment_count, denial_reasons, denial_groups, flags, version_time,
    version_id)
SELECT practice_id, number, number_key, payer_id, trace, payer_number, ordinal, status, frequency, paid_on,
    charge::numeric / 100, payment::numeric / 100, patient::numeric / 100, member, service, service_to,
    crossover, string_to_array(remarks, $30), adjustments::jsonb, provider::jsonb, adjudication,
    denied::numeric / 100, denials, adjusted, string_to_array(reasons, $30), string_to_array(groups, $30),
    string_to_array(flags, $30), time, event
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::int[], $8::text[],
    $9::text[], $10::date[], $11::bigint[], $12::bigint[], $13::bigint[], $14::text[], $15::date[], $16::date[],
    $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::bigint[], $23::int[], $24::int[],
    $25::text[], $26::text[], $27::text[], $28::timestamptz[], $29::text[])
    AS r (practice_id, number, number_key, payer_id, trace, payer_number, ordinal, status, frequency, paid_on,
    charge, payment, patient, member, service, service_to, crossover, remarks, adjustments, provider,
    adjudication, denied, denials, adjusted, reasons, groups, flags, time, event)
ON CONFLICT ON CONSTRAINT remittances_identity DO UPDATE SET
    claim_status_code = excluded.claim_status_code, claim_frequency_code = excluded.claim_frequency_code,
    payment_date = excluded.payment_date, total_charge_amount = excluded.total_charge_amount,
    payment_amount = excluded.payment_amount,
    patient_responsibility_amount = excluded.patient_responsibility_amount, member_id = excluded.member_id,
    service_date = excluded.service_date, service_to_date = excluded.service_to_date,
    crossover_payer = excluded.crossover_payer, remark_codes = excluded.remark_codes,
    adjustments = excluded.adjustments, provider_adjustments = excluded.provider_adjustments,
    adjudication = excluded.adjudication, denied_amount = excluded.denied_amount,
    denial_count = excluded.denial_count, adjustment_count = excluded.adjustment_count,
    denial_reasons = excluded.denial_reasons, denial_groups = excluded.denial_groups, flags = excluded.flags,
    version_time = excluded.version_time, version_id = excluded.version_id,
    revision = t.revision + 1, updated_at = now()
WHERE (excluded.version_time, excluded.version_id) > (t.version_time, t.version_id)
RETURNING id, practice_id, patient_control_number, payer_id, trace_number, payer_claim_control_number,
    claim_ordinal, (xmax = 0) AS "inserted!"
