//! Reads an 837: the hierarchy of billing provider, subscriber and patient, and the claims that hang on it.
//!
//! Must never: let a claim carry what belongs to another branch of the hierarchy, or keep a claim once it is handed out.

use std::sync::Arc;

use super::claim_parts::OpenClaim;
use super::envelope::instant;
use super::note::{NoteReason, Position};
use super::output::{Out, Site, Transaction};
use super::segment::{Elements, Segment, tax_id};
use crate::domain::claim::{ClaimType, Payer, Provider, Responsibility, Subscriber};
use crate::domain::types::{Date, Phi};

/// Whom the last NM1 above the claims names, so that PRV, REF and DMG go to the right one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Nobody,
    Billing,
    Subscriber,
    Patient,
}

/// What DMG tells of a person.
#[derive(Clone, Default)]
struct Person {
    birth_date: Option<Phi<Date>>,
    gender: Option<Phi<String>>,
}

/// The reader of one 837 transaction.
pub(super) struct ClaimReader {
    transaction: Arc<Transaction>,
    form: Option<ClaimType>,
    submitted_at: Option<Date>,
    billing: Provider,
    payer: Payer,
    responsibility: Responsibility,
    filing_indicator: Option<String>,
    member_id: Option<Phi<String>>,
    insured: Person,
    patient: Person,
    dependent: bool,
    named: Named,
    open: Option<OpenClaim>,
}

impl ClaimReader {
    pub fn new(transaction: Arc<Transaction>, form: Option<ClaimType>) -> Self {
        Self {
            transaction,
            form,
            submitted_at: None,
            billing: Provider::default(),
            payer: Payer::default(),
            responsibility: Responsibility::default(),
            filing_indicator: None,
            member_id: None,
            insured: Person::default(),
            patient: Person::default(),
            dependent: false,
            named: Named::Nobody,
            open: None,
        }
    }

    /// Takes a segment between ST and SE; tells whether it is one the reader uses.
    pub fn segment(&mut self, id: &[u8], segment: &Segment<'_>, at: Position, out: &mut Out<'_>) -> bool {
        match id {
            b"CLM" => self.claim(&segment.elements(), at, out),
            b"HL" => self.level(&segment.elements(), out),
            // A subscriber's SBR right after service lines: its HL is missing. The one of another payer comes before LX.
            b"SBR" if self.open.as_ref().is_some_and(OpenClaim::is_in_lines) => {
                self.close(out);
                self.new_subscriber();
                self.subscriber(&segment.elements());
            }
            _ => match &mut self.open {
                Some(open) => return open.segment(id, segment, at, out),
                None => return self.above_claims(id, segment, at, out),
            },
        }
        true
    }

    /// Ends the transaction.
    pub fn finish(&mut self, out: &mut Out<'_>) {
        self.close(out);
    }

    /// The bytes end inside the claim at hand: it is not delivered.
    pub fn abandon(&mut self, out: &mut Out<'_>) {
        if self.open.take().is_some() {
            out.summary.withheld += 1;
        }
    }

    fn close(&mut self, out: &mut Out<'_>) {
        if let Some(open) = self.open.take() {
            open.finish(self.form, out);
        }
    }

    /// HL: the level code decides (20 billing provider, 22 subscriber, 23 patient). The numbers in HL01 and HL02 are
    /// not needed, as levels come in the order of the tree, and published files number them wrongly.
    fn level(&mut self, hl: &Elements<'_>, out: &mut Out<'_>) {
        self.close(out);
        self.named = Named::Nobody;
        match hl.get(3) {
            b"20" => {
                self.billing = Provider::default();
                self.new_subscriber();
            }
            b"22" => self.new_subscriber(),
            b"23" => {
                self.patient = Person::default();
                self.dependent = true;
            }
            _ => {}
        }
    }

    fn new_subscriber(&mut self) {
        self.payer = Payer::default();
        self.responsibility = Responsibility::default();
        self.filing_indicator = None;
        self.member_id = None;
        self.insured = Person::default();
        self.patient = Person::default();
        self.dependent = false;
        self.named = Named::Nobody;
    }

    fn above_claims(&mut self, id: &[u8], segment: &Segment<'_>, at: Position, out: &mut Out<'_>) -> bool {
        match id {
            b"NM1" => self.name(&segment.elements(), &mut Site { out, at, segment_id: b"NM1" }),
            b"SBR" => self.subscriber(&segment.elements()),
            b"REF" if self.named == Named::Billing => billing_reference(&mut self.billing, &segment.elements()),
            b"PRV" => {
                let prv = segment.elements();
                // PRV stands before NM1*85. PT is the pay-to provider's of 4010.
                if prv.get(1) == b"BI" || (self.named == Named::Billing && prv.get(1) != b"PT") {
                    self.billing.taxonomy_code = prv.text(3);
                }
            }
            b"DMG" => self.person(&segment.elements(), &mut Site { out, at, segment_id: b"DMG" }),
            b"BHT" => self.beginning(&segment.elements(), &mut Site { out, at, segment_id: b"BHT" }),
            _ => return false,
        }
        true
    }

    fn beginning(&mut self, bht: &Elements<'_>, site: &mut Site<'_, '_>) {
        self.submitted_at = bht.date(4, site);
        if let Some(time) = self.submitted_at.and_then(|day| instant(day, bht.get(5))) {
            Arc::make_mut(&mut self.transaction).time = Some(time);
        }
    }

    fn subscriber(&mut self, sbr: &Elements<'_>) {
        self.responsibility = std::str::from_utf8(sbr.get(1)).ok().and_then(Responsibility::parse).unwrap_or_default();
        self.filing_indicator = sbr.text(9);
    }

    fn name(&mut self, nm1: &Elements<'_>, site: &mut Site<'_, '_>) {
        if nm1.get(2).is_empty() {
            site.note(NoteReason::MissingElement, 2);
        }
        self.named = match nm1.get(1) {
            b"85" => {
                // PRV came first: its taxonomy stays.
                let taxonomy_code = self.billing.taxonomy_code.take();
                self.billing = Provider { taxonomy_code, ..provider(nm1) };
                Named::Billing
            }
            b"IL" => {
                self.member_id = nm1.phi(9);
                Named::Subscriber
            }
            b"QC" => Named::Patient,
            b"PR" => {
                self.payer = Payer { id: nm1.text(9), name: nm1.text(3) };
                Named::Nobody
            }
            _ => Named::Nobody,
        };
    }

    fn person(&mut self, dmg: &Elements<'_>, site: &mut Site<'_, '_>) {
        let person = match self.named {
            Named::Subscriber => &mut self.insured,
            Named::Patient => &mut self.patient,
            Named::Nobody | Named::Billing => return,
        };
        *person = Person { birth_date: dmg.date(2, site).map(Phi::new), gender: dmg.phi(3) };
    }

    fn claim(&mut self, clm: &Elements<'_>, at: Position, out: &mut Out<'_>) {
        self.close(out);
        let mut open = OpenClaim::new(Arc::clone(&self.transaction), at);
        let claim = open.claim_mut();
        let person = if self.dependent { &self.patient } else { &self.insured };
        claim.subscriber = Subscriber {
            member_id: self.member_id.clone(),
            birth_date: person.birth_date.clone(),
            gender: person.gender.clone(),
        };
        claim.patient_is_dependent = self.dependent;
        claim.billing_provider = self.billing.clone();
        claim.payer = self.payer.clone();
        claim.responsibility = self.responsibility;
        claim.filing_indicator = self.filing_indicator.clone();
        claim.submitted_at = self.submitted_at;
        open.begin(clm, &mut Site { out, at, segment_id: b"CLM" });
        self.open = Some(open);
    }
}

/// REF behind NM1*85: EI is the employer's number, SY a person's; either names the practice where there is no NPI.
fn billing_reference(billing: &mut Provider, reference: &Elements<'_>) {
    if matches!(reference.get(1), b"EI" | b"SY" | b"TJ") && billing.tax_id.is_none() {
        billing.tax_id = tax_id(reference.get(2));
    }
}

/// The provider that an NM1 names: an NPI only where NM108 is XX, a tax id where it is 24, 34 or FI (4010).
pub(super) fn provider(nm1: &Elements<'_>) -> Provider {
    let (npi, tax) = match nm1.get(8) {
        b"XX" => (nm1.text(9), None),
        b"24" | b"34" | b"FI" => (None, tax_id(nm1.get(9))),
        _ => (None, None),
    };
    let is_organization = match nm1.get(2) {
        b"1" => Some(false),
        b"2" => Some(true),
        _ => None,
    };
    Provider { npi, tax_id: tax, taxonomy_code: None, is_organization }
}
