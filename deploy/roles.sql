-- The roles of PostgreSQL, with the least each needs. To be run by a superuser in the claimrisk database, before the first
-- `claimrisk migrate` and again after each one (it may be run as often as you like):
--
--     psql -d claimrisk -v ON_ERROR_STOP=1 -f deploy/roles.sql
--     psql -d claimrisk -c '\password claimrisk_app'        -- and so on; no password stands here
--
-- claimrisk_migrator   owns the tables; for `claimrisk migrate` alone
-- claimrisk_app        the workers and the other commands: no DDL, no TRUNCATE, DELETE where the program needs it; it adds to
--                      the audit log through audit_append and can neither read nor change it
-- claimrisk_auditor    `claimrisk audit`: reads the audit log, removes what is old enough
--
-- In pg_hba.conf let them in over TLS only: hostssl claimrisk claimrisk_app ... scram-sha-256 clientcert=verify-full

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['claimrisk_migrator', 'claimrisk_app', 'claimrisk_auditor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
        EXECUTE format('ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name);
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
        -- Nobody can put a table of his own before ours; parameters of statements are patient data.
        EXECUTE format('ALTER ROLE %I SET search_path = public, pg_temp', name);
        EXECUTE format('ALTER ROLE %I SET log_parameter_max_length = 0', name);
        EXECUTE format('ALTER ROLE %I SET log_parameter_max_length_on_error = 0', name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

ALTER ROLE claimrisk_app CONNECTION LIMIT 200;
ALTER ROLE claimrisk_app SET statement_timeout = '60s';
ALTER ROLE claimrisk_app SET lock_timeout = '60s';
ALTER ROLE claimrisk_app SET idle_in_transaction_session_timeout = '60s';

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO claimrisk_migrator;
GRANT USAGE ON SCHEMA public TO claimrisk_app, claimrisk_auditor;

SELECT to_regclass('public.audit_chain') IS NOT NULL AS migrated \gset
\if :migrated
GRANT SELECT ON _sqlx_migrations TO claimrisk_app, claimrisk_auditor;
GRANT SELECT, INSERT, UPDATE ON
    payers, providers, practices, claims, claim_submissions, claim_lines, remittances, remittance_lines, claim_episodes,
    claim_outcomes, label_changes, claim_acknowledgements, risk_scores, label_scores, denial_patterns, model_configurations,
    shadow_scores, model_snapshots, ingest_events, reference_tables, cache_counters, cache_epoch
    TO claimrisk_app;
-- What is computed anew, and old models.
GRANT DELETE ON
    claim_lines, remittance_lines, claim_episodes, claim_outcomes, label_changes, denial_patterns, model_snapshots
    TO claimrisk_app;
GRANT EXECUTE ON FUNCTION audit_append(text[], text[], text[], bigint[], jsonb[]) TO claimrisk_app, claimrisk_auditor;
GRANT SELECT ON audit_log, audit_chain TO claimrisk_auditor;
GRANT EXECUTE ON FUNCTION audit_retain(timestamptz, text) TO claimrisk_auditor;
\else
\echo 'the roles are there; after `claimrisk migrate` run this file again for their rights'
\endif
