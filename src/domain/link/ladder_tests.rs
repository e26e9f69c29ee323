//! Each rung, the choice within it, and the independence of the candidates' order.

use super::super::super::types::Date;
use super::*;

fn day(number: u32) -> Date {
    Date::from_ymd_opt(2026, 3, number).expect("a day of March")
}

/// A primary claim of payer X for 100 dollars, with service on the first and sent on the second.
fn claim(claim_id: i64, control_number: &str) -> Candidate {
    Candidate {
        claim_id,
        patient_control_number: control_number.into(),
        responsibility: Responsibility::Primary,
        payer_key: Some("X".to_owned()),
        frequency_code: "1".to_owned(),
        payer_claim_control_number: None,
        member_id: Some("W1".into()),
        service_from: Some(day(1)),
        service_to: Some(day(1)),
        total_charge: Cents::new(10_000),
        sibling: false,
        submitted_at: Some(day(2)),
    }
}

/// The remittance that agrees with [`claim`] in everything but, perhaps, the control number.
fn remittance(control_number: &str) -> RemittanceKey {
    RemittanceKey {
        patient_control_number: control_number.into(),
        payer_key: Some("X".to_owned()),
        payer_claim_control_number: Some("ICN1".into()),
        status_code: "1".to_owned(),
        frequency_code: Some("1".to_owned()),
        member_id: Some("W1".into()),
        service_from: Some(day(1)),
        service_to: None,
        total_charge: Cents::new(10_000),
        payment_date: Some(day(20)),
    }
}

impl Candidate {
    fn place(self, responsibility: Responsibility, payer: &str) -> Self {
        Self { responsibility, payer_key: Some(payer.to_owned()), ..self }
    }
    fn charge(self, dollars: i64) -> Self {
        Self { total_charge: Cents::new(dollars * 100), ..self }
    }
    fn served(self, on: u32) -> Self {
        Self { service_from: Some(day(on)), service_to: None, ..self }
    }
    /// A replacement (7) or void (8) that names its predecessor.
    fn succeeding(self, frequency: &str, number: &str) -> Self {
        Self { frequency_code: frequency.to_owned(), payer_claim_control_number: Some(number.into()), ..self }
    }
    fn member(self, id: &str) -> Self {
        Self { member_id: Some(id.into()), ..self }
    }
}

/// All orders of the items.
fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for order in orders(rest) {
        for place in 0..=order.len() {
            let mut longer = order.clone();
            longer.insert(place, first.clone());
            all.push(longer);
        }
    }
    all
}

/// Links in every order of the candidates and proves that all agree.
fn linked(remittance: &RemittanceKey, candidates: &[Candidate]) -> Link {
    let expected = link(remittance, candidates);
    for order in orders(candidates) {
        assert_eq!(link(remittance, &order), expected);
    }
    expected
}

/// Claim, method, confidence and runner-up of a link.
type Told = (i64, Method, u16, Option<(i64, u16)>);

fn told(link: &Link) -> Option<Told> {
    match link {
        Link::Linked { claim_id, method, confidence_permille, runner_up, .. } => {
            Some((*claim_id, *method, *confidence_permille, *runner_up))
        }
        _ => None,
    }
}

fn tell(remittance: &RemittanceKey, candidates: &[Candidate]) -> Option<Told> {
    told(&linked(remittance, candidates))
}

fn ambiguous(candidates: &[(i64, u16)]) -> Link {
    Link::Ambiguous { candidates: candidates.to_vec() }
}

#[test]
fn the_exact_control_number_links_with_certainty() {
    let expected = Link::Linked {
        claim_id: 1,
        method: Method::ControlNumber,
        confidence_permille: 1000,
        evidence: vec![
            Evidence::ChargeEqual,
            Evidence::DatesEqual,
            Evidence::PayerEqual,
            Evidence::MemberEqual,
            Evidence::ResponsibilityEqual,
        ],
        runner_up: None,
    };
    assert_eq!(linked(&remittance("PCN-1"), &[claim(1, "PCN-1"), claim(2, "PCN-2")]), expected);
}

#[test]
fn the_exact_control_number_links_though_all_else_differs() {
    let other = claim(1, "PCN-1").place(Responsibility::Secondary, "Y").charge(7).served(9).member("Z");
    assert_eq!(tell(&remittance("PCN-1"), &[other]), Some((1, Method::ControlNumber, 960, None)));
}

#[test]
fn nothing_in_common_is_no_link() {
    assert_eq!(linked(&remittance("PCN-1"), &[]), Link::None);
    assert_eq!(linked(&remittance("PCN-1"), &[claim(1, "PCN-2").member("Z"), claim(2, "").charge(1)]), Link::None);
}

#[test]
fn the_payers_place_tells_claims_under_one_number_apart() {
    let claims = [
        claim(1, "P"),
        claim(2, "P").place(Responsibility::Secondary, "Y"),
        claim(3, "P").place(Responsibility::Tertiary, "Z"),
    ];
    for (status, payer, claim_id) in [
        ("1", "X", 1),
        ("19", "X", 1),
        ("2", "Y", 2),
        ("20", "Y", 2),
        ("3", "Z", 3),
        ("21", "Z", 3),
        // The payer is spelt in another way: its place is left.
        ("2", "Y PLAN", 2),
        // The status says nothing: the payer is left.
        ("4", "Y", 2),
        ("22", "Z", 3),
        // The payer thinks it is first: the payer weighs more.
        ("1", "Y", 2),
    ] {
        let asked =
            RemittanceKey { status_code: status.to_owned(), payer_key: Some(payer.to_owned()), ..remittance("P") };
        let found = tell(&asked, &claims);
        assert_eq!(
            found.map(|(id, method, ..)| (id, method)),
            Some((claim_id, Method::ControlNumber)),
            "{status} {payer}"
        );
        assert!(found.is_some_and(|(_, _, confidence, next)| next.is_some_and(|(_, c)| c <= confidence)));
    }
}

#[test]
fn claims_under_one_number_that_nothing_tells_apart_are_ambiguous() {
    let asked = RemittanceKey { status_code: "4".to_owned(), payer_key: None, ..remittance("P") };
    let claims = [claim(5, "P").place(Responsibility::Secondary, "Y"), claim(4, "P")];
    assert_eq!(linked(&asked, &claims), ambiguous(&[(4, 1000), (5, 1000)]));
}

#[test]
fn one_payer_twice_is_told_apart_by_its_place() {
    let claims = [claim(1, "P"), claim(2, "P").place(Responsibility::Secondary, "X")];
    let second = RemittanceKey { status_code: "2".to_owned(), ..remittance("P") };
    assert_eq!(tell(&second, &claims), Some((2, Method::ControlNumber, 1000, Some((1, 995)))));
}

#[test]
fn a_replacement_under_another_number_is_found_by_the_number_of_its_predecessor() {
    let claims = [claim(1, "NEW").succeeding("7", "ICN1").served(2)];
    let asked = |frequency: Option<&str>| RemittanceKey {
        frequency_code: frequency.map(str::to_owned),
        member_id: None,
        ..remittance("?")
    };
    let method = Method::PayerClaimControlNumber;
    assert_eq!(tell(&asked(Some("7")), &claims), Some((1, method, 910, None)), "dates differ");
    assert_eq!(tell(&asked(None), &claims), Some((1, method, 860, None)));
    assert_eq!(linked(&asked(Some("1")), &claims), Link::None, "that answers the predecessor");
}

#[test]
fn a_claim_that_carries_the_payers_number_as_its_own_is_found_by_it() {
    let claims = [claim(1, "A").succeeding("1", "ICN1"), claim(2, "B").succeeding("7", "ICN1")];
    let asked = RemittanceKey { frequency_code: None, ..remittance("?") };
    assert_eq!(tell(&asked, &claims), Some((1, Method::PayerClaimControlNumber, 940, Some((2, 870)))));
}

#[test]
fn a_sibling_remittance_names_the_claim() {
    let claims = [Candidate { sibling: true, ..claim(1, "OLD").charge(3) }, claim(2, "NEW").succeeding("7", "ICN1")];
    let asked = RemittanceKey { frequency_code: Some("7".to_owned()), ..remittance("?") };
    let Link::Linked { claim_id, confidence_permille, evidence, runner_up, .. } = linked(&asked, &claims) else {
        panic!("linked")
    };
    assert_eq!((claim_id, confidence_permille, runner_up), (1, 940, Some((2, 920))));
    assert!(evidence.contains(&Evidence::SiblingRemittance));
}

#[test]
fn a_number_that_a_payer_reuses_does_not_outdo_a_claim_that_fits_whole() {
    let sibling = Candidate { sibling: true, ..claim(1, "OLD").charge(3) };
    let claims = [sibling, claim(2, "AB-0002")];
    let Link::Linked { claim_id, method, .. } = linked(&remittance("AB0002"), &claims) else { panic!("linked") };
    assert_eq!((claim_id, method), (2, Method::MangledControlNumber));
}

#[test]
fn a_rung_that_cannot_decide_lets_the_next_one_try() {
    let reused = |id, name, member: &str| Candidate {
        member_id: Some(member.into()),
        ..claim(id, name).succeeding("1", "ICN1")
    };
    let two = [reused(1, "AAAA1", "W7"), reused(2, "BBBB2", "W8")];
    assert!(matches!(linked(&remittance("?"), &two), Link::Ambiguous { .. }), "nothing tells them apart");
    let [one, other] = two;
    let three = [one, other, claim(3, "CCCC3")];
    let Link::Linked { claim_id, method, .. } = linked(&remittance("?"), &three) else { panic!("linked") };
    assert_eq!((claim_id, method), (3, Method::MemberDatesCharge));
}

#[test]
fn a_payers_number_means_nothing_at_another_payer() {
    let claims = [claim(1, "A").succeeding("1", "ICN1").place(Responsibility::Primary, "Y").charge(7)];
    assert_eq!(linked(&remittance("?"), &claims), Link::None);
}

#[test]
fn claims_with_the_same_payers_number_are_told_apart_by_the_mangled_number_or_not_at_all() {
    let claims = [claim(1, "AB-0001").succeeding("1", "ICN1"), claim(2, "CD-0002").succeeding("1", "ICN1")];
    let method = Method::PayerClaimControlNumber;
    assert_eq!(tell(&remittance("AB0001"), &claims), Some((1, method, 940, Some((2, 940)))));
    assert_eq!(linked(&remittance("?"), &claims), ambiguous(&[(1, 940), (2, 940)]));
}

#[test]
fn a_mangled_control_number_links_and_equal_facts_raise_the_confidence() {
    let method = Method::MangledControlNumber;
    let asked = remittance("PCN1112223333");
    let number = "PCN-1112223333";
    assert_eq!(tell(&asked, &[claim(1, number)]), Some((1, method, 840, None)));
    assert_eq!(tell(&asked, &[claim(1, number).charge(7)]), Some((1, method, 720, None)));
    assert_eq!(tell(&asked, &[claim(1, number).served(9).member("Z")]), Some((1, method, 810, None)));
    assert_eq!(linked(&asked, &[claim(1, number).charge(7).served(9)]), Link::None, "another charge on another day");
}

#[test]
fn of_claims_cut_to_the_same_number_only_equal_charge_and_dates_tell() {
    let start = "PRACTICE-ACCOUNT-0";
    let one = || claim(1, "PRACTICE-ACCOUNT-01");
    let two = || claim(2, "PRACTICE-ACCOUNT-02");
    let cut: String = start.chars().take(17).collect();
    let asked = remittance(&cut);
    assert_eq!(tell(&asked, &[one(), two().charge(7)]), Some((1, Method::MangledControlNumber, 840, Some((2, 720)))));
    assert_eq!(linked(&asked, &[one(), two()]), ambiguous(&[(1, 840), (2, 840)]));
    assert_eq!(linked(&asked, &[one().charge(7), two().charge(7)]), ambiguous(&[(1, 720), (2, 720)]));
    let elsewhere = || two().place(Responsibility::Primary, "Y").charge(7);
    assert_eq!(
        linked(&asked, &[one().charge(7), elsewhere()]),
        ambiguous(&[(1, 720), (2, 705)]),
        "payer is not enough"
    );
    let three = claim(3, "PRACTICE-ACCOUNT-03").charge(7);
    assert_eq!(linked(&asked, &[one(), two(), three]), ambiguous(&[(1, 840), (2, 840)]), "the third is out");
}

#[test]
fn claims_under_one_mangled_number_are_told_apart_by_the_payer() {
    let claims = [claim(1, "AB-123"), claim(2, "AB-123").place(Responsibility::Secondary, "Y")];
    let asked = RemittanceKey { status_code: "2".to_owned(), payer_key: Some("Y".to_owned()), ..remittance("AB123") };
    assert_eq!(tell(&asked, &claims), Some((2, Method::MangledControlNumber, 840, Some((1, 820)))));
}

#[test]
fn a_very_short_mangled_number_needs_an_equal_charge() {
    assert_eq!(linked(&remittance("7"), &[claim(1, "007").charge(9).member("Z")]), Link::None);
    assert_eq!(
        tell(&remittance("7"), &[claim(1, "007").member("Z")]),
        Some((1, Method::MangledControlNumber, 830, None))
    );
}

#[test]
fn member_dates_and_charge_link_when_all_agree_on_one_claim() {
    let method = Method::MemberDatesCharge;
    assert_eq!(tell(&remittance("0"), &[claim(1, "A"), claim(2, "B").charge(9)]), Some((1, method, 710, None)));
    assert_eq!(linked(&remittance("0"), &[claim(1, "A"), claim(2, "B")]), ambiguous(&[(1, 710), (2, 710)]));
    for other in [claim(1, "A").charge(9), claim(1, "A").served(9), claim(1, "A").member("Z")] {
        assert_eq!(linked(&remittance("0"), &[other]), Link::None);
    }
    let unknown = RemittanceKey { member_id: None, ..remittance("0") };
    assert_eq!(linked(&unknown, &[claim(1, "A")]), Link::None);
    let free = RemittanceKey { total_charge: Cents::ZERO, ..remittance("0") };
    assert_eq!(linked(&free, &[claim(1, "A").charge(0)]), Link::None, "no charge is no evidence");
    let longer = RemittanceKey { service_to: Some(day(3)), ..remittance("0") };
    assert_eq!(linked(&longer, &[claim(1, "A")]), Link::None, "another last day");
}

#[test]
fn an_original_sent_after_the_payment_is_not_found_by_member() {
    let late = Candidate { submitted_at: Some(day(21)), ..claim(1, "A") };
    assert_eq!(linked(&remittance("0"), std::slice::from_ref(&late)), Link::None);
    let replaced = Candidate { frequency_code: "7".to_owned(), ..late };
    assert!(tell(&remittance("0"), &[replaced]).is_some());
}

#[test]
fn a_reversal_has_the_same_charge_with_the_other_sign() {
    let reversal = RemittanceKey { total_charge: Cents::new(-10_000), status_code: "22".to_owned(), ..remittance("0") };
    assert_eq!(tell(&reversal, &[claim(1, "A")]), Some((1, Method::MemberDatesCharge, 710, None)));
}

#[test]
fn a_higher_rung_wins_over_all_lower_ones() {
    let exact = claim(1, "AB1234").charge(7).served(9).member("Z");
    let by_number = claim(2, "?").succeeding("1", "ICN1");
    let mangled = claim(3, "AB-1234");
    let by_member = claim(4, "ZZ");
    let asked = remittance("AB1234");
    let all = [exact, by_number, mangled, by_member];
    let methods = [
        Method::ControlNumber,
        Method::PayerClaimControlNumber,
        Method::MangledControlNumber,
        Method::MemberDatesCharge,
    ];
    let mut left = all.as_slice();
    for (claim_id, method) in (1_i64..).zip(methods) {
        assert_eq!(tell(&asked, left).map(|(id, found, ..)| (id, found)), Some((claim_id, method)));
        left = left.get(1..).expect("one candidate for each rung");
    }
    assert_eq!(linked(&asked, left), Link::None);
}

#[test]
fn a_claim_given_twice_is_one_claim() {
    let claims = [claim(1, "P"), claim(1, "P"), claim(1, "P").charge(7)];
    assert_eq!(tell(&remittance("P"), &claims), Some((1, Method::ControlNumber, 1000, None)));
}

#[test]
fn any_candidates_give_the_same_link_in_all_orders() {
    let mut seed: u64 = 3;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) % below
    };
    let numbers = ["AB-1234", "AB1234", "00AB1234", "XY"];
    let places = [Responsibility::Primary, Responsibility::Secondary];
    let (mut links, mut ties, mut misses) = (0, 0, 0);
    for round in 0..400_usize {
        let handed_back = ["AB1234", "0AB1234", "ZZ"].get(round % 3).copied().expect("in range");
        let candidates: Vec<Candidate> = (1..=5)
            .map(|id| {
                let pick = |index: u64| usize::try_from(index).expect("small");
                let place = *places.get(pick(draw(2))).expect("in range");
                let number = numbers.get(pick(draw(4))).expect("in range");
                let mut made = claim(id, number).place(place, if draw(2) == 0 { "X" } else { "Y" });
                made.total_charge = Cents::new(i64::try_from(draw(2)).expect("small") * 100 + 9_900);
                made.member_id = (draw(2) == 0).then(|| "W1".into());
                made.sibling = draw(8) == 0;
                if draw(4) == 0 { made.succeeding("7", "ICN1") } else { made }
            })
            .collect();
        match linked(&remittance(handed_back), &candidates) {
            Link::Linked { .. } => links += 1,
            Link::Ambiguous { candidates } => {
                assert!(candidates.len() > 1);
                ties += 1;
            }
            Link::None => misses += 1,
        }
    }
    assert!(links > 20 && ties > 20 && misses > 10, "{links} {ties} {misses}");
}
