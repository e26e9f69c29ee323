//! The committed X12 files, and words of theirs to change them with.

use std::path::PathBuf;

/// The committed files, in the order of their names.
pub fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/x12");
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry of the corpus"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file")))
        .collect();
    files.sort();
    assert!(files.len() >= 12, "the corpus has {} files", files.len());
    files
}

/// Words that mean something to the reader, so that a change hits more than free text.
pub const X12_WORDS: [&[u8]; 29] = [
    b"ISA*",
    b"GS*HC*",
    b"ST*837*",
    b"ST*835*1~",
    b"SE*1*1~",
    b"GE*1*1~",
    b"IEA*1*1~",
    b"~CLM*A*1",
    b"~LX*1~",
    b"~SV1*HC:1*1~",
    b"~SV2*0450**",
    b"~SBR*S*18~",
    b"~CAS*CO*45*1**97*2~",
    b"~HL*1**22~",
    b"~HL*1**23~",
    b"~CLP*A*1*1*1~",
    b"~PLB*1*20200101*WO:1*1~",
    b"~SVC*HC:1*1*1~",
    b"~HI*BK:A*BF~",
    b"*D8*00000000~",
    b"*RD8*20261030-99991231~",
    b"~",
    b"*",
    b":",
    b"^",
    b"\r\n",
    b"\n",
    b"-",
    b"99999999999999999999",
];
