//! Tests of the file of tokens: what is read, what is refused and how that is said.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

struct File(PathBuf);

impl File {
    fn with(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("claimrisk-tokens-{}", uuid::Uuid::now_v7().simple()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self(path)
    }

    fn tokens(&self, limits: [u32; 2]) -> Tokens {
        let known = RwLock::new(Arc::new(load(&self.0).unwrap()));
        Tokens { path: self.0.clone(), known, limits, rates: Mutex::default() }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn error(text: &str) -> String {
    let error = load(&File::with(text).0).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    error.to_string()
}

#[test]
fn a_new_token_opens_what_its_scopes_allow_and_nothing_else() {
    let (token, line) = make("dash", &[Scope::Read, Scope::Admin]).unwrap();
    assert!(!line.contains(&token) && token.len() >= 32 + PREFIX.len());
    assert_ne!(make("dash", &[Scope::Read]).unwrap().0, token);
    let tokens = File::with(&format!("# for the dashboard\n\n{line}\n")).tokens([60, 1000]);
    let now = Instant::now();
    let admit = |token: Option<&str>, scope| tokens.admit(token, scope, now).map(|name| name.to_string());
    assert_eq!(admit(Some(&token), Scope::Read), Ok("dash".to_owned()));
    assert_eq!(admit(Some(&token), Scope::Admin), Ok("dash".to_owned()));
    assert_eq!(admit(Some(&token), Scope::Write), Err(Refusal::Scope(Scope::Write)));
    assert_eq!(admit(Some(&token.to_uppercase()), Scope::Read), Err(Refusal::Unknown));
    assert_eq!(
        admit(Some(line.rsplit(' ').next().unwrap()), Scope::Read),
        Err(Refusal::Unknown),
        "the hash opens nothing"
    );
    assert_eq!(admit(Some(&"x".repeat(100_000)), Scope::Read), Err(Refusal::Unknown));
    assert_eq!(admit(None, Scope::Read), Err(Refusal::Missing));
}

#[test]
fn a_wrong_line_is_told_by_its_number_and_how_to_mend_it_but_not_repeated() {
    let (token, line) = make("a", &[Scope::Read]).unwrap();
    for (text, what) in [
        (format!("{line}\nb read"), "line 2: there must be three parts"),
        (format!("# one\nb read {token}"), "line 2: the hash must be 64 hexadecimal digits"),
        (format!("b reed {}", "0".repeat(64)), "line 1: scopes are read, write, admin"),
        (format!("b read, {}", "0".repeat(64)), "line 1: scopes are read"),
        (format!("b/c read {}", "0".repeat(64)), "line 1: a name is up to 64"),
        (format!("{line}\n{line}"), "line 2: the name stands twice"),
        (format!("{line}\nb{}", line.replacen('a', "", 1)), "line 2: the hash stands twice"),
    ] {
        let said = error(&text);
        assert!(said.contains(what) && said.contains("claimrisk token new"), "{said}");
        assert!(!said.contains(&token) && !said.contains("b/c"), "{said}");
    }
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let file = File::with("");
    for (mode, good) in [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o660, false), (0o602, false)] {
        std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load(&file.0);
        assert_eq!(loaded.is_ok(), good, "{mode:o}");
        if let Err(error) = loaded {
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }
}

#[test]
fn each_token_has_its_own_count_and_a_token_that_is_gone_is_forgotten() {
    let ((one, line), (two, other)) = (make("one", &[Scope::Read]).unwrap(), make("two", &[Scope::Read]).unwrap());
    let file = File::with(&format!("{line}\n{other}\n"));
    let tokens = file.tokens([3, 1000]);
    let now = Instant::now();
    // A request outside of its scope counts, too.
    assert!(tokens.admit(Some(&one), Scope::Write, now).is_err());
    assert!(tokens.admit(Some(&one), Scope::Read, now).is_ok());
    assert!(tokens.admit(Some(&one), Scope::Read, now).is_ok());
    assert!(matches!(tokens.admit(Some(&one), Scope::Read, now), Err(Refusal::TooMany(_))));
    assert!(tokens.admit(Some(&two), Scope::Read, now).is_ok());
    std::fs::write(&file.0, &other).unwrap();
    tokens.replace(load(&file.0).unwrap());
    assert_eq!(tokens.admit(Some(&one), Scope::Read, now), Err(Refusal::Unknown));
    assert!(tokens.admit(Some(&two), Scope::Read, now).is_ok());
    assert_eq!(tokens.rates.lock().unwrap().len(), 1);
}
