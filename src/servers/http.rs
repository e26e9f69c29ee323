//! A minimal HTTP client for the loopback interfaces of the servers that we started ourselves: one request, one answer,
//! one connection. HTTP/1.0, so that answers come whole and unchunked.
//!
//! It must never be pointed at anything but a private server: it knows neither TLS nor redirects.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ServerError;

/// How long one request may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// One request to `127.0.0.1:port`; `authorization` is the value of that header. Returns the body of a 2xx answer.
pub(super) async fn request(
    port: u16,
    method: &str,
    path: &str,
    authorization: Option<&str>,
    body: Option<&str>,
) -> Result<String, ServerError> {
    let action = || format!("{method} {path}");
    let answer = tokio::time::timeout(REQUEST_DEADLINE, exchange(port, method, path, authorization, body))
        .await
        .map_err(|_| ServerError::Io { action: action(), source: std::io::ErrorKind::TimedOut.into() })?
        .map_err(ServerError::io(action()))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    // The status line is "HTTP/1.1 204 No Content".
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or(0);
    if (200..300).contains(&status) {
        Ok(body.to_owned())
    } else {
        Err(ServerError::Http {
            method: method.to_owned(),
            path: path.to_owned(),
            status,
            body: body.chars().take(300).collect(),
        })
    }
}

async fn exchange(
    port: u16,
    method: &str,
    path: &str,
    authorization: Option<&str>,
    body: Option<&str>,
) -> std::io::Result<Vec<u8>> {
    let mut head = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n");
    if let Some(authorization) = authorization {
        head.push_str(&format!("Authorization: {authorization}\r\n"));
    }
    let body = body.unwrap_or_default();
    head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
