//! The filters that all lists share, read from a query in one place.

use utoipa::IntoParams;
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::error::ApiError;
use super::params::{LEVELS, Params, STATUSES};
use super::{ApiState, read_through};
use crate::cache::Entity;
use crate::store::read::{Filter, PageRequest};

/// Filters of the lists, as the documentation lists them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `read`")]
pub(super) struct FilterQuery {
    /// Rows to leave out at the start.
    #[param(minimum = 0, maximum = 1_000_000_000, default = 0)]
    skip: Option<i64>,
    /// Rows wanted.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Practice: the id that events use, or the table id.
    #[param(max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    practice_id: Option<String>,
    /// Payer: the id that events use, or the table id.
    #[param(max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    payer_id: Option<String>,
    /// Billing provider of the claim: NPI or tax id, or the table id.
    #[param(max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    provider_id: Option<String>,
    /// Risk level of the claim: `low`, `medium`, `high` or `critical`.
    #[param(pattern = "^(low|medium|high|critical)?$")]
    risk_level: Option<String>,
    /// The claim's number: the clearinghouse's, or the patient control number.
    #[param(max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    claim_control_number: Option<String>,
    /// Stored at this time or later: RFC 3339, or a day (UTC).
    #[param(schema_with = moment)]
    created_from: Option<String>,
    /// Stored at this time or earlier: RFC 3339, or a day (UTC) to its end.
    #[param(schema_with = moment)]
    created_to: Option<String>,
}

/// A time, a day, or nothing.
fn moment() -> AnyOfBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let of = |format: KnownFormat| text().format(Some(SchemaFormat::KnownFormat(format)));
    AnyOfBuilder::new().item(of(KnownFormat::DateTime)).item(of(KnownFormat::Date)).item(text().max_length(Some(0)))
}

/// The status that lists of claims may be narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `read`")]
pub(super) struct ClaimQuery {
    /// `submitted`, `accepted`, `rejected`, `paid`, `partial`, `denied`, `recouped` or `voided`.
    #[param(pattern = "^(submitted|accepted|rejected|paid|partial|denied|recouped|voided)?$")]
    status: Option<String>,
}

/// What lists of remittances and episodes may be narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `read`")]
pub(super) struct DecisionQuery {
    /// What was decided: `paid`, `partial`, `denied`, `pending`, `reversal`, `routed` or `predetermination`.
    #[param(pattern = "^(paid|partial|denied|pending|reversal|routed|predetermination)?$")]
    status: Option<String>,
    /// Claim (table id).
    #[param(minimum = 0)]
    claim_id: Option<i64>,
}

/// The remittance that a list of episodes may be narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `read`")]
pub(super) struct RemittanceQuery {
    /// Remittance (table id).
    #[param(minimum = 0)]
    remittance_id: Option<i64>,
}

/// What a remittance can decide.
const ADJUDICATIONS: &[&str] = &["paid", "partial", "denied", "pending", "reversal", "routed", "predetermination"];

/// Which list a query is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Claims,
    Remittances,
    Episodes,
}

/// Reads page and filters; whatever else stands in the query is refused.
pub(super) async fn read(state: &ApiState, mut params: Params, of: Of) -> Result<(PageRequest, Filter), ApiError> {
    let request = params.page()?;
    let practice = params.text("practice_id")?;
    let payer = params.text("payer_id")?;
    let provider = params.text("provider_id")?;
    let statuses = if of == Of::Claims { STATUSES } else { ADJUDICATIONS };
    let mut filter = Filter {
        status: params.word("status", statuses)?,
        risk_level: params.word("risk_level", LEVELS)?,
        claim_control_number: params.text("claim_control_number")?,
        created_from: params.created_from()?,
        created_before: params.created_before()?,
        ..Filter::default()
    };
    if of != Of::Claims {
        filter.claim_id = params.id("claim_id")?;
    }
    if of == Of::Episodes {
        filter.remittance_id = params.id("remittance_id")?;
    }
    params.finish()?;
    filter.practice_id = read_through::reference(state, Entity::Practice, practice).await?;
    filter.payer_id = read_through::reference(state, Entity::Payer, payer).await?;
    filter.provider_id = read_through::reference(state, Entity::Provider, provider).await?;
    Ok((request, filter))
}
