//! A private Prometheus, for the tests that run the dashboards' queries and the alert rules on a real one.
//!
//! It must never scrape anything but what it is told to.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::{RunFolder, Spec, Supervised};
use super::{Options, ServerError, find_program, http, run_folder};

const SERVER: &str = "Prometheus";

/// A private Prometheus. Dropping it stops the server and removes its data.
#[derive(Debug)]
pub struct Prometheus {
    // Dropped before the folder: the order of the fields matters.
    process: Supervised,
    folder: RunFolder,
    port: u16,
}

impl Prometheus {
    /// Starts a server that scrapes each target (`127.0.0.1:9464`; path `/metrics`) once a second under the job name
    /// `claimrisk`, and returns when it is ready.
    ///
    /// # Errors
    /// [`ServerError`]: the package is missing, or the server did not come up.
    pub async fn start(options: &Options, targets: &[&str]) -> Result<Self, ServerError> {
        let mut configuration = "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n\
                                 scrape_configs:\n  - job_name: claimrisk\n    static_configs:\n      - targets:\n"
            .to_owned();
        if targets.is_empty() {
            configuration.push_str("          []\n");
        }
        for target in targets {
            // Writing to a String cannot fail.
            writeln!(configuration, "          - \"{target}\"").unwrap_or_default();
        }
        Self::start_with_configuration(options, &configuration).await
    }

    /// Starts a server with a configuration of one's own (YAML; relative paths in it count from the server's folder, so
    /// rule files are best named absolutely).
    ///
    /// # Errors
    /// [`ServerError`]: the package is missing, the configuration is wrong, or the server did not come up.
    pub async fn start_with_configuration(options: &Options, configuration: &str) -> Result<Self, ServerError> {
        let program = find_program("prometheus", "prometheus")?;
        options.report("starting Prometheus");
        let prometheus = super::with_fresh_ports(|[port]| {
            let program = program.clone();
            async move {
                let folder = run_folder(options, "prometheus")?;
                folder.write("prometheus.yml", configuration)?;
                let prometheus = Self {
                    process: Supervised::spawn(&spec(&program, folder.path(), port), folder.path())?,
                    folder,
                    port,
                };
                prometheus
                    .process
                    .ready(|| async move { http::request(port, "GET", "/-/ready", None, None).await.is_ok() })
                    .await?;
                Ok(prometheus)
            }
        })
        .await?;
        options.report("Prometheus is ready");
        Ok(prometheus)
    }

    /// The server's address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port on `127.0.0.1`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The folder of this server's data and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Evaluates a PromQL expression now and returns the answer of `/api/v1/query` (JSON).
    ///
    /// # Errors
    /// [`ServerError::Http`] with Prometheus's message when the expression is wrong.
    pub async fn query(&self, expression: &str) -> Result<String, ServerError> {
        let path = format!("/api/v1/query?query={}", percent_encoded(expression));
        self.get(&path).await
    }

    /// One GET request to the server; returns the answer's body.
    ///
    /// # Errors
    /// [`ServerError::Http`] for any status but 2xx.
    pub async fn get(&self, path: &str) -> Result<String, ServerError> {
        http::request(self.port, "GET", path, None, None).await
    }
}

fn spec(program: &Path, folder: &Path, port: u16) -> Spec {
    let file: PathBuf = folder.join("prometheus.yml");
    Spec {
        server: SERVER,
        command: vec![
            program.into(),
            format!("--config.file={}", file.display()).into(),
            format!("--storage.tsdb.path={}", folder.join("data").display()).into(),
            format!("--web.listen-address=127.0.0.1:{port}").into(),
            "--log.level=warn".into(),
        ],
        environment: Vec::new(),
        stop_signal: "TERM",
        grace: Duration::from_secs(10),
    }
}

/// `text` as the value of a query parameter (RFC 3986 unreserved characters stay).
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_survives_the_query_string() {
        assert_eq!(percent_encoded("rate(a_total{b=\"c\"}[5m])"), "rate%28a_total%7Bb%3D%22c%22%7D%5B5m%5D%29");
    }
}
