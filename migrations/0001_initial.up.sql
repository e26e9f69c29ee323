-- The tables. Money is numeric(14,2), times are timestamptz, surrogate ids are bigint.
-- Every identity of the contract is a unique constraint here, so that a double cannot be stored whatever the code does.

CREATE TABLE payers (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payer_key   text NOT NULL UNIQUE,            -- the payer id as events name it, or 'name:' and the name
    name        text,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE providers (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_key  text NOT NULL UNIQUE,          -- NPI, else tax id
    taxonomy_code text,
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE practices (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    practice_key  text NOT NULL UNIQUE,          -- the publisher's practice id, else the billing provider's NPI
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE claims (
    id                         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    practice_id                bigint NOT NULL REFERENCES practices (id),
    payer_id                   bigint NOT NULL REFERENCES payers (id),
    provider_id                bigint REFERENCES providers (id),
    patient_control_number     text NOT NULL,
    control_number_key         text COLLATE "C" NOT NULL,   -- normalised, for numbers that payers mangle
    responsibility             text NOT NULL CHECK (responsibility IN ('P', 'S', 'T')),
    claim_control_number       text,
    payer_claim_control_number text,
    claim_frequency_type       text NOT NULL,
    claim_type                 text NOT NULL CHECK (claim_type IN ('professional', 'institutional', 'dental')),
    filing_indicator_code      text,
    facility_type_code         text,
    assignment_code            text,
    total_charge_amount        numeric(14,2) NOT NULL,
    statement_date             date,
    admission_date             date,
    discharge_date             date,
    service_date               date,
    service_to_date            date,
    submitted_at               date,
    member_id                  text,
    diagnosis_codes            text[] NOT NULL DEFAULT '{}',
    principal_diagnosis        text,
    status                     text NOT NULL DEFAULT 'submitted' CHECK (status IN
        ('submitted', 'accepted', 'rejected', 'paid', 'partial', 'denied', 'recouped', 'voided')),
    overall_score              numeric(4,1) NOT NULL,       -- of the newest submission; the history is in risk_scores
    risk_level                 text NOT NULL CHECK (risk_level IN ('low', 'medium', 'high', 'critical')),
    expected_loss              numeric(14,2) NOT NULL,      -- charge x score: the order of the worklist
    version_time               timestamptz NOT NULL,        -- of the newest event applied; ties go to the larger id
    version_id                 text COLLATE "C" NOT NULL,
    revision                   bigint NOT NULL DEFAULT 1,   -- grows with each change of the row: fences the cache
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT claims_identity UNIQUE (practice_id, patient_control_number, responsibility)
);

-- A claim is sent one or more times: originally, as a replacement, as a void. Each is scored and labelled on its own.
CREATE TABLE claim_submissions (
    id                         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    claim_id                   bigint NOT NULL REFERENCES claims (id),
    frequency_code             text NOT NULL,
    predecessor                text NOT NULL DEFAULT '',    -- payer claim control number that a replacement or void names
    submitted_at               date,
    body                       jsonb NOT NULL,              -- the claim as sent, in the vocabulary of the events
    member_key                 bigint,                      -- half a digest of practice and member id, to search by
    version_time               timestamptz NOT NULL,
    version_id                 text COLLATE "C" NOT NULL,
    first_time                 timestamptz NOT NULL,        -- of the first version
    created_at                 timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT claim_submissions_identity UNIQUE (claim_id, frequency_code, predecessor)
);

CREATE TABLE claim_lines (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    claim_id            bigint NOT NULL REFERENCES claims (id),
    line_number         integer NOT NULL,
    control_number      text,
    procedure_code      text,
    modifiers           text[] NOT NULL DEFAULT '{}',
    revenue_code        text,
    charge_amount       numeric(14,2) NOT NULL,
    units               numeric(12,3),
    place_of_service    text,
    service_date_from   date,
    service_date_to     date
);

CREATE TABLE remittances (
    id                            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    practice_id                   bigint NOT NULL REFERENCES practices (id),
    payer_id                      bigint NOT NULL REFERENCES payers (id),
    claim_id                      bigint REFERENCES claims (id),
    trace_number                  text NOT NULL,
    patient_control_number        text NOT NULL,
    control_number_key            text COLLATE "C" NOT NULL,
    payer_claim_control_number    text NOT NULL,            -- empty when the payer gave none
    claim_ordinal                 integer NOT NULL,
    claim_status_code             text NOT NULL,
    claim_frequency_code          text,
    payment_date                  date,
    total_charge_amount           numeric(14,2) NOT NULL,
    payment_amount                numeric(14,2) NOT NULL,
    patient_responsibility_amount numeric(14,2),
    member_id                     text,
    service_date                  date,
    service_to_date               date,
    crossover_payer               text,
    remark_codes                  text[] NOT NULL DEFAULT '{}',
    adjustments                   jsonb NOT NULL DEFAULT '[]',
    provider_adjustments          jsonb NOT NULL DEFAULT '[]',
    adjudication                  text NOT NULL CHECK (adjudication IN
        ('paid', 'partial', 'denied', 'pending', 'reversal', 'routed', 'predetermination')),
    denied_amount                 numeric(14,2) NOT NULL,
    denial_count                  integer NOT NULL,
    adjustment_count              integer NOT NULL,
    denial_reasons                text[] NOT NULL DEFAULT '{}',   -- 'CO-197' and so on, denials only
    denial_groups                 text[] NOT NULL DEFAULT '{}',
    flags                         text[] NOT NULL DEFAULT '{}',   -- 'unbalanced' and other doubts about the data
    link_state                    text NOT NULL DEFAULT 'unlinked' CHECK (link_state IN ('linked', 'unlinked', 'ambiguous')),
    version_time                  timestamptz NOT NULL,
    version_id                    text COLLATE "C" NOT NULL,
    revision                      bigint NOT NULL DEFAULT 1,
    created_at                    timestamptz NOT NULL DEFAULT now(),
    updated_at                    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT remittances_identity UNIQUE
        (practice_id, patient_control_number, payer_id, trace_number, payer_claim_control_number, claim_ordinal),
    CONSTRAINT remittances_linked CHECK ((link_state = 'linked') = (claim_id IS NOT NULL))
);

CREATE TABLE remittance_lines (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    remittance_id       bigint NOT NULL REFERENCES remittances (id),
    line_number         integer NOT NULL,
    control_number      text,
    procedure_code      text,
    modifiers           text[] NOT NULL DEFAULT '{}',
    revenue_code        text,
    charge_amount       numeric(14,2) NOT NULL,
    payment_amount      numeric(14,2) NOT NULL,
    units               numeric(12,3),
    service_date_from   date,
    service_date_to     date,
    adjustments         jsonb NOT NULL DEFAULT '[]',
    denial_reasons      text[] NOT NULL DEFAULT '{}',
    remark_codes        text[] NOT NULL DEFAULT '{}',
    outcome             text NOT NULL CHECK (outcome IN ('paid', 'reduced', 'denied', 'no_decision')),
    CONSTRAINT remittance_lines_identity UNIQUE (remittance_id, line_number)
);

-- One row per claim and remittance that belong together, with the evidence for it.
CREATE TABLE claim_episodes (
    id                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    claim_id             bigint NOT NULL REFERENCES claims (id),
    remittance_id        bigint NOT NULL REFERENCES remittances (id),
    status               text NOT NULL,
    payment_amount       numeric(14,2) NOT NULL,
    denial_count         integer NOT NULL,
    adjustment_count     integer NOT NULL,
    link_method          text NOT NULL,
    link_confidence      numeric(4,3) NOT NULL,
    link_evidence        text[] NOT NULL DEFAULT '{}',
    runner_up_claim_id   bigint REFERENCES claims (id),
    runner_up_confidence numeric(4,3),
    revision             bigint NOT NULL DEFAULT 1,
    linked_at            timestamptz NOT NULL DEFAULT now(),
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now()
);

-- The label of each submission; no row while there is none.
CREATE TABLE claim_outcomes (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    claim_id              bigint NOT NULL REFERENCES claims (id),
    submission_id         bigint NOT NULL UNIQUE REFERENCES claim_submissions (id),
    initial_outcome       text CHECK (initial_outcome IN ('paid', 'partial', 'denied')),
    final_outcome         text CHECK (final_outcome IN ('paid', 'partial', 'denied', 'recouped')),
    initial_remittance_id bigint REFERENCES remittances (id),
    final_remittance_id   bigint REFERENCES remittances (id),
    initial_date          date,
    net_payment_amount    numeric(14,2) NOT NULL,
    overturned            boolean NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);

-- Labels to look at again, for a learner that may have learned them: they are no more, or what bears on them changed. It
-- clears what is a day old. Rows are only added: to write to labels of other claims would need their locks.
CREATE TABLE label_changes (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    submission_id bigint NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE claim_acknowledgements (
    id                     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    practice_id            bigint NOT NULL REFERENCES practices (id),
    patient_control_number text NOT NULL,
    accepted               boolean NOT NULL,
    category_code          text,
    status_code            text,
    version_time           timestamptz NOT NULL,
    version_id             text COLLATE "C" NOT NULL,
    created_at             timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT claim_acknowledgements_identity UNIQUE (practice_id, patient_control_number)
);

-- History; the newest row of a claim is current.
CREATE TABLE risk_scores (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    claim_id          bigint NOT NULL REFERENCES claims (id),
    submission_id     bigint NOT NULL REFERENCES claim_submissions (id),
    overall_score     numeric(4,1) NOT NULL CHECK (overall_score BETWEEN 0 AND 100),
    risk_level        text NOT NULL CHECK (risk_level IN ('low', 'medium', 'high', 'critical')),
    log_odds_micro    bigint NOT NULL,
    component_scores  jsonb NOT NULL,
    risk_factors      jsonb NOT NULL,
    recommendations   jsonb NOT NULL,
    blocking          boolean NOT NULL,
    model_version     text NOT NULL,
    rule_set_version  text NOT NULL,
    input_hash        text NOT NULL,
    calculated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What calibration is counted from: each submission's first label beside the score that stood when it came. A label that
-- changes or goes leaves its row as it was: it counts once, here and in the metrics.
CREATE TABLE label_scores (
    submission_id     bigint PRIMARY KEY REFERENCES claim_submissions (id),
    risk_score_id     bigint NOT NULL REFERENCES risk_scores (id),
    probability_micro integer NOT NULL CHECK (probability_micro BETWEEN 0 AND 1000000),  -- of that score, in millionths
    bin               integer NOT NULL GENERATED ALWAYS AS (least(probability_micro / 100000, 9)) STORED,
    denied            boolean NOT NULL,                -- in whole or in part
    labelled_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE denial_patterns (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payer_id       bigint NOT NULL REFERENCES payers (id),
    procedure_code text NOT NULL,                   -- empty: all procedures of the payer
    reason_code    text NOT NULL,                   -- 'CO-197' and so on; empty: any denial
    denied_count   bigint NOT NULL,
    line_count     bigint NOT NULL,                 -- adjudicated lines of that payer and procedure
    denied_amount  numeric(14,2) NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT denial_patterns_identity UNIQUE (payer_id, procedure_code, reason_code)
);

-- How models learn. One is in force; challengers score beside it, are stored, and never shown.
CREATE TABLE model_configurations (
    id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    settings  text NOT NULL UNIQUE,
    role      text NOT NULL CHECK (role IN ('champion', 'challenger', 'retired')),
    since     timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX model_configurations_champion ON model_configurations (role) WHERE role = 'champion';
INSERT INTO model_configurations (settings, role) VALUES ('half-life=365 prior=100', 'champion');

CREATE TABLE shadow_scores (
    risk_score_id    bigint NOT NULL REFERENCES risk_scores (id),
    configuration_id integer NOT NULL REFERENCES model_configurations (id),
    model_version    text NOT NULL,
    log_odds_micro   bigint NOT NULL,
    PRIMARY KEY (risk_score_id, configuration_id)
);

CREATE TABLE model_snapshots (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    configuration text NOT NULL,
    model_version text NOT NULL UNIQUE,
    trained_on    bigint NOT NULL,
    content       jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- The ledger: which event was seen, what became of it. (source, event_id) is what makes a second delivery harmless.
CREATE TABLE ingest_events (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source        text NOT NULL,
    event_id      text NOT NULL,
    event_type    text NOT NULL,
    event_time    timestamptz,
    body_hash     bytea NOT NULL,
    result        text NOT NULL CHECK (result IN ('accepted', 'superseded', 'parked', 'rejected')),
    reason        text,
    detail        text,
    claim_id      bigint REFERENCES claims (id),
    remittance_id bigint REFERENCES remittances (id),
    acknowledgement_id bigint REFERENCES claim_acknowledgements (id),
    received_at   timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ingest_events_identity UNIQUE (source, event_id)
);

-- What payers, CMS and registries publish, as it was loaded; the newest of each kind only.
CREATE TABLE reference_tables (
    kind      text PRIMARY KEY,
    version   text NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    row_count bigint NOT NULL,
    content   text NOT NULL
);

-- Who looked at what. Rows come in through audit_append alone, a group at a time, and stay as they are.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL CHECK (actor !~ '[[:cntrl:]]'),
    action     text NOT NULL CHECK (action !~ '[[:cntrl:]]'),
    entity     text NOT NULL CHECK (entity !~ '[[:cntrl:]]'),
    entity_id  bigint,
    details    jsonb NOT NULL DEFAULT '{}'
);

-- The seal of each group: a hash over its rows and the hash of the group before it.
CREATE TABLE audit_chain (
    id         bigint PRIMARY KEY,                        -- 1, 2, 3 and so on, without a gap
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_row   bigint NOT NULL,                           -- the group has the rows after the last of the group before
    row_count  integer NOT NULL,
    hash       bytea NOT NULL
);

-- A row as it is hashed; src/store/audit.rs makes the same text.
CREATE FUNCTION audit_text(r audit_log) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws(E'\x1f', r.id::text, (extract(epoch FROM r.at) * 1000000)::bigint::text, r.actor, r.action, r.entity,
        coalesce(r.entity_id::text, ''), r.details::text)
$$;

-- Writes one group and seals it; answers its number. It runs with its owner's rights, so that the workers need none on the
-- tables.
CREATE FUNCTION audit_append(actors text[], actions text[], entities text[], entity_ids bigint[], details jsonb[])
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    previous audit_chain;
    content text;
    last_row bigint;
    row_count integer;
    number bigint;
BEGIN
    -- One group after the other, over all processes. Each statement below sees what was committed before it.
    PERFORM pg_advisory_xact_lock(6021023);
    SELECT * INTO previous FROM audit_chain c ORDER BY c.id DESC LIMIT 1;
    number := coalesce(previous.id, 0) + 1;
    WITH entered AS (
        INSERT INTO audit_log (actor, action, entity, entity_id, details)
        SELECT * FROM unnest(actors, actions, entities, entity_ids, details) RETURNING *)
    SELECT string_agg(audit_text(e), E'\n' ORDER BY e.id), max(e.id), count(*) INTO content, last_row, row_count FROM entered e;
    INSERT INTO audit_chain (id, last_row, row_count, hash) VALUES (number, last_row, row_count,
        sha256(coalesce(previous.hash, '') || convert_to(number || E'\n' || content, 'UTF8')));
    RETURN number;
END
$$;

-- Removes the groups older than a time. The seal of the last of them stays, and a row tells of it: the chain goes on.
CREATE FUNCTION audit_retain(before timestamptz, actor text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    anchor audit_chain;
    gone bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(6021023);
    SELECT * INTO anchor FROM audit_chain c WHERE c.at < before ORDER BY c.id DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    PERFORM set_config('claimrisk.audit_retention', 'on', true);
    DELETE FROM audit_log l WHERE l.id <= anchor.last_row;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM audit_chain c WHERE c.id < anchor.id;
    PERFORM set_config('claimrisk.audit_retention', 'off', true);
    IF gone > 0 THEN
        PERFORM audit_append(ARRAY[actor], ARRAY['retention'], ARRAY['audit_log'], ARRAY[NULL::bigint], ARRAY[jsonb_build_object(
            'rows', gone, 'through_group', anchor.id, 'through_row', anchor.last_row, 'anchor', encode(anchor.hash, 'hex'))]);
    END IF;
    RETURN gone;
END
$$;

-- Not everybody who may connect: deploy/roles.sql tells who.
REVOKE ALL ON FUNCTION audit_append(text[], text[], text[], bigint[], jsonb[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION audit_retain(timestamptz, text) FROM PUBLIC;

-- For whoever owns the tables: a slip changes nothing.
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('claimrisk.audit_retention', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_chain_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

-- What each process has counted of its cache look-ups since it started, and what stood there at the last reset.
CREATE TABLE cache_counters (
    process_id  uuid NOT NULL,
    entity      text NOT NULL,
    result      text NOT NULL,
    total       bigint NOT NULL,
    baseline    bigint NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (process_id, entity, result)
);

CREATE TABLE cache_epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    since    timestamptz NOT NULL DEFAULT now(),
    installation uuid NOT NULL DEFAULT gen_random_uuid()   -- a cache filled from another database is not ours
);
INSERT INTO cache_epoch DEFAULT VALUES;
