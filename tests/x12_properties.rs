//! Properties of the X12 reader over files of our own, mutated and cut at random: the place of a cut between chunks
//! changes nothing, no input makes it panic, and it never holds more than a bounded part of the file.

use claimrisk::domain::x12::{Item, MAX_NOTES, NoteReason, Reader, Severity, Summary, read_all};

#[allow(dead_code, reason = "the fuzzing uses the rest of it")]
#[path = "common/mutate.rs"]
mod mutate;
#[path = "common/x12.rs"]
mod x12;
use mutate::{Random, mutate};
use x12::{X12_WORDS, corpus};

fn read_in_chunks(bytes: &[u8], mut next: impl FnMut() -> usize) -> (Vec<Item>, Summary) {
    let mut items = Vec::new();
    let mut reader = Reader::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(next().clamp(1, rest.len()));
        reader.push(chunk, &mut |item| items.push(item));
        rest = behind;
    }
    let summary = reader.finish(&mut |item| items.push(item));
    (items, summary)
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    for (name, bytes) in corpus() {
        let whole = read_all(&bytes);
        for cut in 0..=bytes.len().min(4_000) {
            let mut first = true;
            let cut_once = read_in_chunks(&bytes, || if std::mem::take(&mut first) { cut } else { usize::MAX });
            assert!(cut_once == whole, "{name} cut at {cut}");
        }
        for size in [1, 2, 3, 7, 64, 105, 106, 107] {
            assert!(read_in_chunks(&bytes, || size) == whole, "{name} in chunks of {size}");
        }
    }
}

#[test]
fn separators_and_wrapping_change_no_claim() {
    let files = corpus();
    let claims = |name: &str| {
        let (_, bytes) = files.iter().find(|file| file.0 == name).unwrap_or_else(|| panic!("{name}"));
        let items = read_all(bytes).0;
        let claims = items.into_iter().filter_map(|item| if let Item::Claim(c) = item { Some(c.value) } else { None });
        claims.collect::<Vec<_>>()
    };
    let plain = claims("professional_hierarchy.837");
    assert_eq!(plain.len(), 3);
    for name in [
        "only_st.837",
        "professional_crlf_bom.837",
        "professional_newlines.837",
        "professional_no_trailers.837",
        "professional_other_separators.837",
        "professional_wrapped_80.837",
    ] {
        assert!(claims(name) == plain, "{name}");
    }
    assert!(claims("professional_truncated.837") == plain[..1], "what was whole before the cut");
}

#[test]
fn cuts_change_nothing_in_broken_files_either() {
    let files = corpus();
    let mut random = Random(0x5eed_0001);
    for round in 0..4_000 {
        let mut bytes = files[random.index(files.len())].1.clone();
        mutate(&mut bytes, &mut random, &X12_WORDS);
        let whole = read_all(&bytes);
        let most = 1 + random.index(200);
        let chunked = read_in_chunks(&bytes, || 1 + random.index(most));
        assert!(chunked == whole, "round {round}");
    }
}

#[test]
fn no_input_makes_it_panic_and_the_sums_agree_with_the_items() {
    let files = corpus();
    let mut random = Random(0x5eed_0002);
    for round in 0..100_000 {
        let mut bytes = if round % 10 == 0 {
            (0..random.index(300)).map(|_| random.next().to_le_bytes()[0]).collect()
        } else {
            // A window of a file, so that most rounds are short.
            let file = &files[random.index(files.len())].1;
            let from = if random.index(2) == 0 { 0 } else { random.index(file.len()) };
            file[from..(from + 200 + random.index(900)).min(file.len())].to_vec()
        };
        mutate(&mut bytes, &mut random, &X12_WORDS);
        let (items, summary) = read_all(&bytes);
        check_sums(&items, &summary, &bytes);
    }
}

fn check_sums(items: &[Item], summary: &Summary, bytes: &[u8]) {
    let (mut claims, mut remittances, mut notes) = (0, 0, 0);
    for item in items {
        match item {
            Item::Claim(claim) => {
                claims += 1;
                assert!(!claim.value.patient_control_number.expose().is_empty());
                assert!((claim.at.byte as usize) < bytes.len());
            }
            Item::Remittance(remittance) => {
                remittances += 1;
                assert!(!remittance.value.patient_control_number.expose().is_empty());
            }
            Item::Note(note) => {
                notes += 1;
                assert_eq!(note.severity, note.reason.severity());
                assert!((note.at.byte as usize) <= bytes.len());
            }
        }
    }
    assert_eq!((claims, remittances), (summary.claims, summary.remittances));
    assert_eq!(notes + summary.notes_suppressed, summary.errors + summary.warnings + summary.infos);
    assert!(summary.withheld == 0 || summary.errors > 0, "whatever is withheld has an error note");
    assert!(summary.claims + summary.remittances + summary.errors > 0 || summary.interchanges > 0);
    assert_eq!(summary.bytes, bytes.len() as u64);
}

#[test]
fn no_note_repeats_anything_of_the_file() {
    let files = corpus();
    let mut random = Random(0x5eed_0003);
    for _ in 0..2_000 {
        let mut bytes = files[random.index(files.len())].1.clone();
        mutate(&mut bytes, &mut random, &X12_WORDS);
        for item in read_all(&bytes).0 {
            if let Item::Note(note) = item {
                let printed = format!("{note} {note:?}");
                assert!(!printed.contains("ZZPHI"), "{printed}");
            }
        }
    }
}

#[test]
fn the_corpus_holds_patient_marks_for_the_note_property() {
    let marked = corpus().iter().filter(|(_, bytes)| bytes.windows(5).any(|w| w == b"ZZPHI")).count();
    assert!(marked >= 5, "{marked} files carry the mark");
}

const ISA: &str =
    "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *261102*0900*^*00501*000000001*0*T*:~";

#[test]
fn a_segment_without_end_is_reported_once_and_the_rest_is_read() {
    let long = "X".repeat(200_000);
    let file = format!(
        "{ISA}GS*HC*S*R*20261102*0900*1*X*005010X222A1~ST*837*1~CLM*A*10***11:B:1~NTE*ADD*{long}~CLM*B*20***11:B:1~SE*5*1~GE*1*1~IEA*1*000000001~"
    );
    let whole = read_all(file.as_bytes());
    let reasons: Vec<NoteReason> =
        whole.0.iter().filter_map(|item| if let Item::Note(note) = item { Some(note.reason) } else { None }).collect();
    assert_eq!(reasons, [NoteReason::SegmentTooLong]);
    assert_eq!(whole.1.claims, 2);
    for size in [1, 1_000, 65_535, 65_536, 65_537] {
        assert!(read_in_chunks(file.as_bytes(), || size) == whole, "chunks of {size}");
    }
}

#[test]
fn the_longest_segment_allowed_is_read_and_one_byte_more_is_not() {
    for (length, claims) in [(65_536, 1), (65_537, 0)] {
        let clm = format!("CLM*A*10***11:B:1*{}", "Y".repeat(length - 18));
        let file =
            format!("{ISA}GS*HC*S*R*20261102*0900*1*X*005010X222A1~ST*837*1~{clm}~SE*3*1~GE*1*1~IEA*1*000000001~");
        assert_eq!(clm.len(), length);
        let whole = read_all(file.as_bytes());
        assert_eq!(whole.1.claims, claims, "{length}");
        for size in [1, 999, 65_536] {
            assert!(read_in_chunks(file.as_bytes(), || size) == whole, "{length} in chunks of {size}");
        }
    }
}

#[test]
fn noise_of_any_kind_gives_an_error_and_no_claim() {
    let mut random = Random(0x5eed_0004);
    let bytes: Vec<u8> = (0..1_000_000).map(|_| random.next().to_le_bytes()[0]).collect();
    let pdf = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\nISA GS ST\n%%EOF".to_vec();
    let json = br#"{"claims":[{"id":"ISA","GS":"ST*837","amount":"12.00"}]}"#.to_vec();
    for noise in
        [bytes, pdf, json, b"hello".to_vec(), Vec::new(), b"ISA".to_vec(), vec![b'I'; 100_000], b"ISA*".repeat(20_000)]
    {
        let (items, summary) = read_all(&noise);
        assert_eq!((summary.claims, summary.remittances), (0, 0));
        assert!(summary.errors >= 1);
        let first = items.iter().find_map(|item| if let Item::Note(note) = item { Some(note) } else { None });
        assert_eq!(first.map(|note| note.severity), Some(Severity::Error));
        assert!(items.len() as u64 <= MAX_NOTES);
    }
}
