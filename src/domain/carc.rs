//! What a claim adjustment reason code (CARC) means for a label: pricing, cost share, coordination, or a denial.
//!
//! The table is reference data with a version: facts about codes, in words of our own. Must never: look at amounts or
//! at the claim (that is `outcome`), or treat a code it does not know as harmless.

use std::borrow::Cow;

/// Version of the table below. It changes whenever the class or group of any code changes, so that a label can be
/// traced to the table it was made with.
pub const CARC_TABLE_VERSION: &str = "2026.1";

/// The highest plain number that CARC has used; numbers above it are unknown.
const LAST_NUMBER: u32 = 303;

/// What an adjustment does to a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdjustmentClass {
    /// Contract, fee schedule, tax or penalty: the price, not the decision.
    Contractual,
    /// The patient's share: deductible, coinsurance, copayment and the like. The service was allowed.
    CostShare,
    /// What another payer did (coordination of benefits).
    Cob,
    /// Nothing decided yet, or nothing to decide.
    NotFinal,
    /// Handed to another payer, which decides.
    Routed,
    /// The payer refuses to allow the amount.
    Denial,
}

/// The answer of [`classify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    /// What the adjustment does to a label.
    pub class: AdjustmentClass,
    /// Whether the group or the reason is unknown here; the class is then `Denial`, the cautious guess.
    pub unclassified: bool,
    /// Whether it is a denial that the patient has to pay (group PR).
    pub patient_liable: bool,
}

/// Why payers deny, in thirteen groups a practice can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DenialGroup {
    /// The patient was not covered, or not recognised.
    Eligibility,
    /// Another payer comes first, or is the right one.
    Cob,
    /// Filed too late.
    Timely,
    /// Already decided.
    Duplicate,
    /// No authorization, notification or referral, or not for this service.
    Authorisation,
    /// Codes that are wrong or do not fit each other, the patient or the bill.
    Coding,
    /// Paid as part of something else.
    Bundling,
    /// More than the limit of units, visits or benefit.
    Units,
    /// Not seen as medically necessary.
    Necessity,
    /// Not in the plan.
    NonCovered,
    /// Something is missing or unreadable.
    Information,
    /// The provider may not bill or perform this.
    Provider,
    /// All other denials.
    Other,
}

impl DenialGroup {
    /// All groups, in their fixed order.
    pub const ALL: [Self; 13] = [
        Self::Eligibility,
        Self::Cob,
        Self::Timely,
        Self::Duplicate,
        Self::Authorisation,
        Self::Coding,
        Self::Bundling,
        Self::Units,
        Self::Necessity,
        Self::NonCovered,
        Self::Information,
        Self::Provider,
        Self::Other,
    ];

    /// The word used in tables and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eligibility => "eligibility",
            Self::Cob => "cob",
            Self::Timely => "timely",
            Self::Duplicate => "duplicate",
            Self::Authorisation => "authorisation",
            Self::Coding => "coding",
            Self::Bundling => "bundling",
            Self::Units => "units",
            Self::Necessity => "necessity",
            Self::NonCovered => "non_covered",
            Self::Information => "information",
            Self::Provider => "provider",
            Self::Other => "other",
        }
    }

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == text)
    }
}

/// Classifies an adjustment by its group (CAS01) and reason (CAS02, 05, 08 ...).
///
/// The reason decides the class; the group decides who bears a denial (PR: the patient) and whether the pair is known.
/// `CR` is the 4010 group for corrections and reversals: it says nothing of the reason, so it counts like `CO`.
/// Case, surrounding blanks and leading zeros do not matter.
pub fn classify(group: &str, reason: &str) -> Classified {
    let code = canonical(reason);
    let class = class_of(&code);
    let group = group.trim();
    let known_group = ["CO", "PR", "OA", "PI", "CR"].iter().any(|known| known.eq_ignore_ascii_case(group));
    let denial = class == AdjustmentClass::Denial;
    Classified {
        class,
        unclassified: denial && !(known_group && is_published(&code)),
        patient_liable: denial && group.eq_ignore_ascii_case("PR"),
    }
}

/// The code as the table spells it: no blanks, upper case, no leading zeros (`" 045"` is `45`, `"b7"` is `B7`).
pub fn canonical(reason: &str) -> Cow<'_, str> {
    let trimmed = reason.trim().trim_start_matches('0');
    if trimmed.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Cow::Owned(trimmed.to_ascii_uppercase())
    } else {
        Cow::Borrowed(trimmed)
    }
}

/// The class of a canonical code. What stands nowhere else is a denial.
fn class_of(code: &str) -> AdjustmentClass {
    match code {
        // Fee schedule, contract, capitation, withholds, incentives, taxes, sequestration.
        "24" | "42" | "44" | "45" | "59" | "70" | "90" | "91" | "94" | "102" | "103" | "104" | "105" | "118"
        | "122" | "130" | "131" | "132" | "137" | "139" | "143" | "144" | "161" | "169" | "172" | "187" | "203"
        | "205" | "223" | "225" | "229" | "232" | "235" | "237" | "245" | "253" | "B10" => AdjustmentClass::Contractual,
        // Pricing too: 4010 codes that 45 replaced (41, 43, A2), hospital add-ons (69, 74 to 76, A4, A5, A7),
        // pharmacy costs, instalments and rebates (260 to 271, 281, 295), and the fee schedules of workers'
        // compensation and other casualty payers (P5, P12 once W1, P24 to P26).
        "41" | "43" | "69" | "74" | "75" | "76" | "260" | "262" | "263" | "264" | "265" | "266" | "271" | "281"
        | "295" | "A2" | "A4" | "A5" | "A7" | "P5" | "P12" | "P24" | "P25" | "P26" | "W1" => {
            AdjustmentClass::Contractual
        }
        // 126 and 127 were the deductible and coinsurance of major medical plans until 2008.
        "1" | "2" | "3" | "66" | "121" | "126" | "127" | "142" | "178" | "241" | "247" | "248" => {
            AdjustmentClass::CostShare
        }
        // 71 and A3 were the 4010 forms of 23; 293 and 294 say to whom money went, as 100 does.
        "23" | "71" | "100" | "209" | "293" | "294" | "A3" => AdjustmentClass::Cob,
        // 257 and 277: undecided while the premium is in its grace period, to be reversed and corrected later.
        "101" | "133" | "192" | "246" | "257" | "277" => AdjustmentClass::NotFinal,
        "B11" => AdjustmentClass::Routed,
        _ => AdjustmentClass::Denial,
    }
}

/// Whether the list has ever held the code: plain numbers, and the lettered ranges of Medicare (A, B), of the
/// years before 2003 (D), and of property and casualty payers (P, earlier W and Y).
fn is_published(code: &str) -> bool {
    let mut rest = code.chars();
    let (letter, digits) = match rest.next() {
        Some(first) if first.is_ascii_alphabetic() => (Some(first), rest.as_str()),
        _ => (None, code),
    };
    // Digits only: `parse` alone would take a plus sign.
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let Ok(number) = digits.parse::<u32>() else { return false };
    match letter {
        None => (1..=LAST_NUMBER).contains(&number),
        Some('A') => number <= 8,
        Some('B') => (1..=23).contains(&number),
        Some('D') => (1..=23).contains(&number),
        Some('P') => (1..=32).contains(&number),
        Some('W') => (1..=9).contains(&number),
        Some('Y') => (1..=3).contains(&number),
        Some(_) => false,
    }
}

/// The group of a denial code. Codes that are no denials, and those that fit nowhere, give `Other`.
pub fn denial_group(reason: &str) -> DenialGroup {
    match &*canonical(reason) {
        "13" | "14" | "26" | "27" | "30" | "31" | "32" | "33" | "34" | "140" | "141" | "166" | "177" | "179"
        | "180" | "200" | "224" | "238" | "239" | "258" | "B9" | "P6" => DenialGroup::Eligibility,
        "19" | "20" | "21" | "22" | "109" | "136" | "168" | "191" | "195" | "201" | "214" | "254" | "270" | "276"
        | "280" | "289" | "290" | "291" | "292" | "297" | "298" | "300" | "301" | "P2" | "P3" | "P4" => {
            DenialGroup::Cob
        }
        "29" | "138" | "286" | "B4" => DenialGroup::Timely,
        "18" | "B13" => DenialGroup::Duplicate,
        "15" | "39" | "61" | "62" | "197" | "198" | "210" | "243" | "284" | "287" | "288" | "296" | "302" | "P17" => {
            DenialGroup::Authorisation
        }
        "4" | "5" | "6" | "7" | "8" | "9" | "10" | "11" | "12" | "58" | "107" | "110" | "135" | "146" | "167"
        | "181" | "182" | "189" | "199" | "220" | "230" | "240" | "261" | "267" | "268" | "282" | "A8" | "B15"
        | "B16" | "B18" | "B22" | "P7" | "P9" | "P18" => DenialGroup::Coding,
        "60" | "97" | "128" | "134" | "190" | "194" | "231" | "234" | "236" | "249" | "P14" | "P19" | "W3" => {
            DenialGroup::Bundling
        }
        "35" | "119" | "149" | "151" | "222" | "273" | "B14" => DenialGroup::Units,
        "40" | "50" | "54" | "55" | "56" | "57" | "114" | "150" | "152" | "153" | "154" | "186" | "188" | "216"
        | "B8" | "P15" => DenialGroup::Necessity,
        "49" | "51" | "53" | "78" | "96" | "157" | "158" | "159" | "160" | "202" | "204" | "211" | "212" | "233"
        | "256" | "269" | "272" | "275" | "303" | "B1" | "B5" | "P20" | "P21" | "P27" | "Y1" => DenialGroup::NonCovered,
        "16" | "112" | "116" | "125" | "129" | "148" | "163" | "164" | "173" | "174" | "175" | "176" | "226"
        | "227" | "228" | "250" | "251" | "252" | "B12" => DenialGroup::Information,
        "38" | "52" | "111" | "147" | "170" | "171" | "183" | "184" | "185" | "206" | "207" | "208" | "213" | "242"
        | "274" | "278" | "279" | "283" | "299" | "B7" | "B20" | "B23" | "P16" => DenialGroup::Provider,
        _ => DenialGroup::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(group: &str, reason: &str) -> AdjustmentClass {
        classify(group, reason).class
    }

    #[test]
    fn price_and_cost_share_are_no_denials() {
        for (group, reason) in [("CO", "45"), ("CO", "253"), ("CO", "24"), ("CO", "A2"), ("CO", "42"), ("CO", "B10")] {
            assert_eq!(class(group, reason), AdjustmentClass::Contractual, "{group}-{reason}");
        }
        for (group, reason) in [("PR", "1"), ("PR", "2"), ("PR", "3"), ("CO", "2"), ("OA", "1"), ("PI", "1")] {
            assert_eq!(class(group, reason), AdjustmentClass::CostShare, "{group}-{reason}");
        }
        assert_eq!(class("OA", "23"), AdjustmentClass::Cob);
        assert_eq!(class("OA", "133"), AdjustmentClass::NotFinal);
        assert_eq!(class("OA", "B11"), AdjustmentClass::Routed);
    }

    #[test]
    fn denials_of_every_group_are_known_and_only_pr_makes_the_patient_liable() {
        for group in ["CO", "OA", "PI", "PR", "CR"] {
            for reason in ["16", "27", "50", "96", "97", "119", "136", "197", "204", "A1", "A6", "B7", "P21", "D3"] {
                let found = classify(group, reason);
                assert_eq!(found.class, AdjustmentClass::Denial, "{group}-{reason}");
                assert!(!found.unclassified, "{group}-{reason}");
                assert_eq!(found.patient_liable, group == "PR", "{group}-{reason}");
            }
        }
    }

    #[test]
    fn an_unknown_code_or_group_is_a_flagged_denial() {
        for (group, reason) in [
            ("CO", "999"),
            ("CO", "304"),
            ("CO", "+5"),
            ("CO", "B24"),
            ("CO", "A9"),
            ("CO", "P33"),
            ("CO", ""),
            ("CO", "0"),
            ("CO", "Z1"),
            ("CO", "\u{e9}1"),
            ("CO", "MA130"),
            ("XX", "96"),
            ("", "96"),
        ] {
            let found = classify(group, reason);
            assert_eq!((found.class, found.unclassified), (AdjustmentClass::Denial, true), "{group}-{reason}");
        }
        assert!(!classify("CO", "A0").unclassified);
    }

    #[test]
    fn spelling_does_not_change_the_class() {
        assert_eq!(class("co", " 045 "), AdjustmentClass::Contractual);
        assert_eq!(class("CO", "b10"), AdjustmentClass::Contractual);
        assert_eq!(denial_group("b13"), DenialGroup::Duplicate);
        assert!(classify("pr", "96").patient_liable);
    }

    #[test]
    fn every_published_number_has_a_class_without_the_flag() {
        for number in 1..=LAST_NUMBER {
            assert!(!classify("CO", &number.to_string()).unclassified, "{number}");
        }
    }

    #[test]
    fn no_code_with_a_denial_group_is_classed_as_something_else() {
        let letters = [("", 1..=LAST_NUMBER), ("A", 0..=8), ("B", 1..=23), ("P", 1..=32), ("W", 1..=9), ("Y", 1..=3)];
        let mut grouped = 0;
        for (letter, range) in letters {
            for number in range {
                let code = format!("{letter}{number}");
                if denial_group(&code) != DenialGroup::Other {
                    grouped += 1;
                    assert_eq!(class("CO", &code), AdjustmentClass::Denial, "{code}");
                }
            }
        }
        assert!(grouped > 150, "{grouped}");
    }

    #[test]
    fn group_names_read_back() {
        for group in DenialGroup::ALL {
            assert_eq!(DenialGroup::parse(group.as_str()), Some(group));
        }
        assert_eq!(DenialGroup::parse("authorization"), None);
    }
}
