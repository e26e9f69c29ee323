-- Inserts new claims and updates those whose row is older. Rows of newer versions are left alone and not answered.
INSERT INTO claims AS c (practice_id, payer_id, provider_id, patient_control_number, control_number_key,
    responsibility, claim_control_number, payer_claim_control_number, claim_frequency_type, claim_type,
    filing_indicator_code, facility_type_code, assignment_code, total_charge_amount, statement_date,
    admission_date, discharge_date, service_date, service_to_date, submitted_at, member_id, diagnosis_codes,
    principal_diagnosis, overall_score, risk_level, expected_loss, version_time, version_id)
SELECT practice_id, payer_id, provider_id, number, number_key, responsibility, claim_number, payer_number,
    frequency, claim_type, filing, facility, assignment, charge::numeric / 100, statement, admission, discharge,
    service, service_to, submitted, member, string_to_array(diagnoses, $29),
    (string_to_array(diagnoses, $29))[1], score::numeric / 10, level, loss::numeric / 100, time, event
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::date[], $16::date[],
    $17::date[], $18::date[], $19::date[], $20::date[], $21::text[], $22::text[], $23::bigint[], $24::text[],
    $25::bigint[], $26::timestamptz[], $27::text[], $28::bigint[])
    AS r (practice_id, payer_id, provider_id, number, number_key, responsibility, claim_number, payer_number,
    frequency, claim_type, filing, facility, assignment, charge, statement, admission, discharge, service,
    service_to, submitted, member, diagnoses, score, level, loss, time, event, place)
ORDER BY place
ON CONFLICT ON CONSTRAINT claims_identity DO UPDATE SET
    payer_id = excluded.payer_id, provider_id = excluded.provider_id,
    control_number_key = excluded.control_number_key, claim_control_number = excluded.claim_control_number,
    payer_claim_control_number = excluded.payer_claim_control_number,
    claim_frequency_type = excluded.claim_frequency_type, claim_type = excluded.claim_type,
    filing_indicator_code = excluded.filing_indicator_code, facility_type_code = excluded.facility_type_code,
    assignment_code = excluded.assignment_code, total_charge_amount = excluded.total_charge_amount,
    statement_date = excluded.statement_date, admission_date = excluded.admission_date,
    discharge_date = excluded.discharge_date, service_date = excluded.service_date,
    service_to_date = excluded.service_to_date, submitted_at = excluded.submitted_at,
    member_id = excluded.member_id, diagnosis_codes = excluded.diagnosis_codes,
    principal_diagnosis = excluded.principal_diagnosis, overall_score = excluded.overall_score,
    risk_level = excluded.risk_level, expected_loss = excluded.expected_loss,
    version_time = excluded.version_time, version_id = excluded.version_id,
    revision = c.revision + 1, updated_at = now()
WHERE (excluded.version_time, excluded.version_id) > (c.version_time, c.version_id)
RETURNING id, practice_id, patient_control_number, responsibility, created_at,
    (xmax = 0) AS "inserted!"
