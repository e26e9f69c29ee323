//! Every read of a claim or remittance is one row of the audit log, written before the answer is given.

use super::ApiState;
use super::error::ApiError;
use crate::store::read::{self, AuditEntity};

/// Who reads, as long as requests carry no token.
const ACTOR: &str = "api";

/// Notes that claims are shown.
pub(super) async fn claims_read(state: &ApiState, ids: &[i64]) -> Result<(), ApiError> {
    Ok(read::audit(&state.pool, ACTOR, "read", AuditEntity::Claim, ids).await?)
}

/// Notes that remittances are shown.
pub(super) async fn remittances_read(state: &ApiState, ids: &[i64]) -> Result<(), ApiError> {
    Ok(read::audit(&state.pool, ACTOR, "read", AuditEntity::Remittance, ids).await?)
}

/// Notes that a claim is scored anew, and its score shown.
pub(super) async fn claim_scored(state: &ApiState, id: i64) -> Result<(), ApiError> {
    Ok(read::audit(&state.pool, ACTOR, "calculate", AuditEntity::Claim, &[id]).await?)
}
