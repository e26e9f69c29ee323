//! Certificates for the tests, made with the openssl command (PostgreSQL's package brings it): an authority, a server's
//! certificate for 127.0.0.1 alone, a client's, one that has expired, and an authority that nobody knows.

use std::path::PathBuf;
use std::process::Command;

use claimrisk::servers::ServerTls;

/// A folder of certificates, removed when dropped.
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("claimrisk-it-pki-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(&folder).expect("folder");
        std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("written");
        let pki = Self { folder };
        for authority in ["ca", "other"] {
            let mut arguments = vec!["req", "-x509", "-days", "2"];
            let (subject, key, cert) =
                (format!("/CN={authority}"), format!("{authority}.key"), format!("{authority}.pem"));
            arguments.extend(NEW_KEY);
            arguments.extend(["-subj", &subject, "-keyout", &key, "-out", &cert]);
            pki.openssl(&arguments);
        }
        for (name, days) in [("server", "2"), ("client", "2"), ("expired", "-1")] {
            let (subject, key) = (format!("/CN={name}"), format!("{name}.key"));
            let (request, cert) = (format!("{name}.csr"), format!("{name}.pem"));
            let mut arguments = vec!["req"];
            arguments.extend(NEW_KEY);
            arguments.extend(["-subj", &subject, "-keyout", &key, "-out", &request]);
            pki.openssl(&arguments);
            pki.openssl(&[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                days,
                "-extfile",
                "names",
                "-out",
                &cert,
            ]);
        }
        pki
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(&self.folder).output().expect("openssl runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The path of a file, such as `ca.pem`.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).expect("file")
    }

    pub fn server(&self) -> ServerTls {
        ServerTls { ca: self.text("ca.pem"), cert: self.text("server.pem"), key: self.text("server.key") }
    }
}

const NEW_KEY: [&str; 6] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256"];

impl Drop for Pki {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
