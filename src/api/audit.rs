//! Every read of a claim or remittance is one row of the audit log, written before the answer is given.

use super::ApiState;
use super::access::Caller;
use super::error::ApiError;
use crate::store::read::{self, AuditEntity};

/// Notes that claims are shown.
pub(super) async fn claims_read(state: &ApiState, caller: &Caller, ids: &[i64]) -> Result<(), ApiError> {
    Ok(read::audit(&state.pool, &caller.0, "read", AuditEntity::Claim, ids).await?)
}

/// Notes that remittances are shown.
pub(super) async fn remittances_read(state: &ApiState, caller: &Caller, ids: &[i64]) -> Result<(), ApiError> {
    Ok(read::audit(&state.pool, &caller.0, "read", AuditEntity::Remittance, ids).await?)
}

/// Notes that a claim is scored anew, and its score shown.
pub(super) async fn claim_scored(state: &ApiState, caller: &Caller, id: i64) -> Result<(), ApiError> {
    Ok(read::audit(&state.pool, &caller.0, "calculate", AuditEntity::Claim, &[id]).await?)
}
