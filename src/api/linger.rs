//! What is left of a body that nobody read: it is taken in and dropped before the connection is closed.
//!
//! A request refused for its size, its token or its route is answered while the client may still be sending. Closed at
//! once, the connection breaks under the client, which then never sees why it was refused. Must never: take more, or for
//! longer, than the limits here, or read on for a client that waits to be asked for its body.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// The most that is taken of what nobody wants, in bytes.
const MOST: u64 = 16 << 20;
/// How long it is taken.
const LONGEST: Duration = Duration::from_secs(5);

/// A body on loan: dropped before its end it goes back to [`Rest`].
struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let body = mem::take(&mut self.body);
        if let Some(back) = self.back.take().filter(|_| !body.is_end_stream()) {
            // An error says that nobody waits for it: the connection is gone.
            drop(back.send(body));
        }
    }
}

/// Takes in what comes back of a body.
pub(super) struct Rest(Option<oneshot::Receiver<Body>>);

/// The same request, and what will take in the rest of its body. A request without a body passes as it is.
pub(super) fn lend(request: Request) -> (Request, Rest) {
    // Who sends `Expect` sends nothing before it is asked to (RFC 9110, 10.1.1).
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return (request, Rest(None));
    }
    let (back, rest) = oneshot::channel();
    (request.map(|body| Body::new(Lent { body, back: Some(back) })), Rest(Some(rest)))
}

impl Rest {
    /// Takes in what is left, once the answer is known; a body that is still being read is left alone.
    pub(super) async fn take_in(self) {
        let Some(mut body) = self.0.and_then(|mut rest| rest.try_recv().ok()) else { return };
        let all = async {
            let mut left = MOST;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(less) = left.checked_sub(length) else { return };
                left = less;
            }
        };
        if tokio::time::timeout(LONGEST, all).await.is_err() {
            tracing::debug!("a client was too slow with a body that nobody wanted");
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::super::{Listener, guard, serve};
    use crate::config::{Config, collect};

    /// Serves one route that reads its body and one that does not; the address.
    async fn served() -> std::net::SocketAddr {
        let routes = Router::new()
            .route("/reads", post(async |body: String| body.len().to_string()))
            .route("/reads-not", post(async || "without reading"));
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        let settings = collect(&std::collections::BTreeMap::new(), None).expect("settings");
        let config = Config::from_raw(&settings).expect("settings");
        let listener = Listener::new(socket, &config, None).expect("a listener");
        let router = guard::guarded(routes);
        tokio::spawn(serve(listener, router, CancellationToken::new(), std::time::Duration::from_secs(1)));
        address
    }

    /// Sends the head and the whole body before it reads a word of the answer.
    async fn answer_to(address: std::net::SocketAddr, path: &str, length: usize) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&vec![b'1'; length]).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn who_sent_more_than_is_taken_reads_why_it_was_refused() {
        let address = served().await;
        for path in ["/reads", "/reads-not", "/nowhere"] {
            let answer = answer_to(address, path, 12 << 20).await.expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
        }
        for (path, starts) in [("/reads", "HTTP/1.1 200"), ("/reads-not", "HTTP/1.1 200"), ("/nowhere", "HTTP/1.1 404")]
        {
            for _ in 0..20 {
                let answer = answer_to(address, path, 700_000).await.expect("an answer");
                assert!(answer.starts_with(starts), "{path}: {answer}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_far_too_long_is_cut_off() {
        let address = served().await;
        assert!(answer_to(address, "/reads", 100 << 20).await.is_err(), "all of 100 MiB was taken in");
    }
}
