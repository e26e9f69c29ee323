-- The named indexes that others rely on, then those that our own queries need.

CREATE INDEX ix_claims_payer_id ON claims (payer_id, id DESC);
CREATE INDEX ix_claims_provider_id ON claims (provider_id, id DESC);
CREATE INDEX ix_claims_practice_id ON claims (practice_id, id DESC);
CREATE INDEX ix_claims_created_at ON claims (created_at);
CREATE INDEX ix_claims_payer_status ON claims (payer_id, status);
CREATE INDEX ix_remittances_payer_id ON remittances (payer_id, id DESC);
CREATE INDEX ix_remittances_created_at ON remittances (created_at);
-- Two of the named indexes also carry a uniqueness: a claim's line number, a claim's link to a remittance.
CREATE UNIQUE INDEX ix_claim_lines_claim_id ON claim_lines (claim_id, line_number);
CREATE UNIQUE INDEX ix_claim_episodes_claim_id ON claim_episodes (claim_id, remittance_id);
-- A remittance belongs to one claim at the most.
CREATE UNIQUE INDEX ix_claim_episodes_remittance_id ON claim_episodes (remittance_id);
CREATE INDEX ix_claim_episodes_created_at ON claim_episodes (created_at);
CREATE INDEX ix_risk_scores_claim_id ON risk_scores (claim_id, id DESC);
CREATE INDEX ix_risk_scores_calculated_at ON risk_scores (calculated_at);
CREATE INDEX ix_denial_patterns_payer_id ON denial_patterns (payer_id, denied_count DESC);

-- Lists with a filter.
CREATE INDEX ix_claims_status ON claims (status, id DESC);
CREATE INDEX ix_claims_risk_level ON claims (risk_level, id DESC);
CREATE INDEX ix_claims_claim_control_number ON claims (claim_control_number) WHERE claim_control_number IS NOT NULL;
CREATE INDEX ix_claims_patient_control_number ON claims (patient_control_number);
CREATE INDEX ix_remittances_practice_id ON remittances (practice_id, id DESC);
CREATE INDEX ix_remittances_adjudication ON remittances (adjudication, id DESC);
CREATE INDEX ix_claim_episodes_status ON claim_episodes (status, id DESC);
-- The worklist: open claims by what is expected to be lost.
CREATE INDEX ix_claims_worklist ON claims (expected_loss DESC, id)
    WHERE status IN ('submitted', 'accepted', 'rejected');
-- Scoring open claims again, page by page.
CREATE INDEX ix_claims_open ON claims (id) WHERE status IN ('submitted', 'accepted', 'rejected');
-- What was sent before for the same member.
CREATE INDEX ix_claim_submissions_member ON claim_submissions (member_key, version_time) WHERE member_key IS NOT NULL;
-- Linking: the rungs below the exact control number, from either side.
CREATE INDEX ix_claims_control_number_key ON claims (practice_id, control_number_key);
CREATE INDEX ix_claims_payer_claim_control_number ON claims (practice_id, payer_claim_control_number)
    WHERE payer_claim_control_number IS NOT NULL;
CREATE INDEX ix_claims_member ON claims (practice_id, member_id, service_date) WHERE member_id IS NOT NULL;
CREATE INDEX ix_remittances_control_number_key ON remittances (practice_id, control_number_key);
CREATE INDEX ix_remittances_payer_claim_control_number ON remittances (practice_id, payer_claim_control_number)
    WHERE payer_claim_control_number <> '';
CREATE INDEX ix_remittances_member ON remittances (practice_id, member_id, service_date) WHERE member_id IS NOT NULL;
CREATE INDEX ix_remittances_ambiguous ON remittances (practice_id) WHERE link_state = 'ambiguous';
CREATE INDEX ix_remittances_claim_id ON remittances (claim_id) WHERE claim_id IS NOT NULL;
-- The learner looks for what changed.
CREATE INDEX ix_remittances_updated_at ON remittances (updated_at);
CREATE INDEX ix_remittances_unlinked ON remittances (id) WHERE claim_id IS NULL;
CREATE INDEX ix_claim_outcomes_claim_id ON claim_outcomes (claim_id);
CREATE INDEX ix_claim_outcomes_updated_at ON claim_outcomes (updated_at, id);
CREATE INDEX ix_label_changes_changed_at ON label_changes (changed_at);
-- Calibration since a day.
CREATE INDEX ix_label_scores_labelled_at ON label_scores (labelled_at);
-- A receipt is found again when its remittance or acknowledgement finds its claim, or loses it.
CREATE INDEX ix_ingest_events_remittance_id ON ingest_events (remittance_id) WHERE remittance_id IS NOT NULL;
CREATE INDEX ix_ingest_events_acknowledgement_id ON ingest_events (acknowledgement_id)
    WHERE acknowledgement_id IS NOT NULL;
CREATE INDEX ix_audit_log_at ON audit_log (at);
