//! One event of each kind as a publisher would send it; the schemas carry them, the tests read them.
//!
//! Must never: hold data of a real person; all of these are made up.

/// A professional claim of one line.
pub const CLAIM_SUBMITTED: &str = r#"{"specversion":"1.0","id":"0191e3c2-7f2b-7a55-9a1e-1c3d6f0b2a11","source":"urn:clearinghouse:acme",
 "type":"claim.submitted.v1","time":"2026-11-02T05:50:21.482Z","datacontenttype":"application/json",
 "data":{"practiceId":"PR01","patientControlNumber":"PCN-1112223333","claimFrequencyCode":"1",
  "payerClaimControlNumber":null,"claimFilingIndicatorCode":"CI","claimType":"professional","facilityTypeCode":"11",
  "assignmentCode":"A","payer":{"payerId":"60054","name":"Example Health Plan"},
  "subscriber":{"memberId":"W123456789","birthDate":"1980-01-01","gender":"F"},
  "billingProvider":{"npi":"1760854442","taxonomyCode":"207Q00000X"},"renderingProvider":{"npi":"1942788757"},
  "referringProvider":null,"priorAuthorizationNumber":null,"referralNumber":null,
  "statementDate":null,"admissionDate":null,"dischargeDate":null,"submittedAt":"2026-11-02",
  "totalClaimChargeAmount":"800.00","diagnosisCodes":["E119","I10"],
  "serviceLines":[{"lineItemControlNumber":"1","procedureCode":"99213","procedureModifiers":["25"],
    "revenueCode":null,"lineItemChargeAmount":"800.00","serviceUnitCount":"1","placeOfServiceCode":"11",
    "serviceDateFrom":"2026-10-30","serviceDateTo":null,"diagnosisPointers":[1]}]}}"#;

/// The denial of that line for want of a prior authorization.
pub const REMITTANCE_RECEIVED: &str = r#"{"specversion":"1.0","id":"0191e3c2-8000-7a55-9a1e-1c3d6f0b2a12","source":"urn:clearinghouse:acme",
 "type":"remittance.received.v1","time":"2026-11-20T09:00:00.000Z","datacontenttype":"application/json",
 "data":{"practiceId":"PR01","payeeNpi":"1760854442","payer":{"payerId":"60054","name":"Example Health Plan"},
  "traceNumber":"EFT00012345","paymentDate":"2026-11-20","patientControlNumber":"PCN-1112223333",
  "payerClaimControlNumber":"94060555410000","claimStatusCode":"1","claimFrequencyCode":"1",
  "totalClaimChargeAmount":"800.00","claimPaymentAmount":"0.00","patientResponsibilityAmount":"0.00",
  "claimAdjustments":[],"remarkCodes":[],
  "serviceLines":[{"lineItemControlNumber":"1","procedureCode":"99213","procedureModifiers":["25"],
    "serviceDateFrom":"2026-10-30","lineItemChargeAmount":"800.00","lineItemPaymentAmount":"0.00",
    "adjustments":[{"groupCode":"CO","reasonCode":"197","amount":"800.00"}],"remarkCodes":["M62"]}]}}"#;

/// The acceptance of that claim, before its adjudication.
pub const CLAIM_ACKNOWLEDGED: &str = r#"{"specversion":"1.0","id":"0191e3c2-7fff-7a55-9a1e-1c3d6f0b2a13","source":"urn:clearinghouse:acme",
 "type":"claim.acknowledged.v1","time":"2026-11-03T08:15:00Z","datacontenttype":"application/json",
 "data":{"practiceId":"PR01","billingProviderNpi":"1760854442","patientControlNumber":"PCN-1112223333",
  "accepted":true,"claimStatusCategoryCode":"A2","claimStatusCode":"20"}}"#;
