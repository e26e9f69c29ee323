//! TLS on real servers: with the right authority and a client certificate everything works; with any other authority, name
//! or date, without a certificate, or on a server that speaks plain text, nothing is said at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claimrisk::broker;
use claimrisk::cache::Cache;
use claimrisk::config::{Config, SETTINGS, collect};
use claimrisk::servers::{Options, Servers};
use claimrisk::store;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::events::claim;
use crate::harness::{Place, Worker};
use crate::pki::Pki;

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("PEM")
}

/// Whether each server is reached: RabbitMQ, PostgreSQL, Redis; why not, where it is told.
async fn reach(urls: &[String; 3], pki: &Pki, ca: &str, client: bool) -> [Result<(), String>; 3] {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut flags: BTreeMap<String, String> =
        SETTINGS.iter().map(|setting| (setting.key.to_owned(), setting.default.to_owned())).collect();
    for (key, url) in ["amqp_url", "database_url", "redis_url"].iter().zip(urls) {
        flags.insert((*key).to_owned(), url.clone());
    }
    flags.insert("redis_timeout_ms".to_owned(), "5000".to_owned());
    flags.insert("tls_ca_file".to_owned(), pki.path(ca));
    if client {
        flags.insert("tls_cert_file".to_owned(), pki.path("client.pem"));
        flags.insert("tls_key_file".to_owned(), pki.path("client.key"));
    }
    let config = Config::from_raw(&collect(&flags, None).expect("settings")).expect("settings");
    let amqp = broker::connect(&config.amqp_url, "tls").await.map(drop).map_err(|error| broker::describe(&error));
    let pool = store::pool(&config).expect("pool");
    let asked = tokio::time::timeout(Duration::from_secs(20), store::pending_migrations(&pool)).await;
    let postgres = asked.expect("in time").map(drop).map_err(|error| error.to_string());
    let cache = Cache::new(&config, uuid::Uuid::nil()).expect("cache");
    let redis = if cache.ping().await { Ok(()) } else { Err(String::new()) };
    [amqp, postgres, redis]
}

/// A listener on its own port that shows a certificate which has expired; first it answers as PostgreSQL does, where asked.
async fn expired(pki: &Pki, postgres: bool) -> u16 {
    let chain = certificates(&pki.text("expired.pem"));
    let key = PrivateKeyDer::from_pem_slice(pki.text("expired.key").as_bytes()).expect("key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .expect("server");
    let (listener, acceptor) =
        (TcpListener::bind("127.0.0.1:0").await.expect("bind"), TlsAcceptor::from(Arc::new(config)));
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if postgres {
                stream.read_exact(&mut [0; 8]).await.expect("asks for TLS");
                stream.write_all(b"S").await.expect("told");
            }
            let talked = acceptor.accept(stream).await;
            assert!(talked.is_err(), "somebody believed an expired certificate");
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_believed_by_their_authority_name_and_date_and_never_without_tls() {
    let pki = Pki::new();
    let servers =
        Servers::start(Options { tls: Some(pki.server()), ..Options::default() }).await.expect("servers start");
    let database = |url: String, host: &str| format!("{}?sslmode=verify-full", url.replace("127.0.0.1", host));
    let urls = |host: &str| {
        let postgres = database(servers.postgres.database_url("postgres"), host);
        [servers.rabbitmq.amqps_url(host), postgres, servers.redis.tls_url(host, 0)]
    };
    let right = reach(&urls("127.0.0.1"), &pki, "ca.pem", true).await;
    assert_eq!(right, [Ok(()), Ok(()), Ok(())]);

    let refused = |what: &str, answers: [Result<(), String>; 3], told: &str| {
        for (server, answer) in ["RabbitMQ", "PostgreSQL", "Redis"].iter().zip(&answers) {
            assert!(answer.is_err(), "{what}: {server} was reached");
        }
        for answer in &answers[..2] {
            let why = answer.as_ref().unwrap_err();
            assert!(why.contains(told), "{what}: {why}");
        }
    };
    refused("another authority", reach(&urls("127.0.0.1"), &pki, "other.pem", true).await, "UnknownIssuer");
    refused("another name", reach(&urls("localhost"), &pki, "ca.pem", true).await, "not valid for name");
    refused("no client certificate", reach(&urls("127.0.0.1"), &pki, "ca.pem", false).await, "");
    let (plain, asking) = (expired(&pki, false).await, expired(&pki, true).await);
    let late = [
        format!("amqps://guest:guest@127.0.0.1:{plain}/%2f"),
        format!("postgres://u:p@127.0.0.1:{asking}/c?sslmode=verify-full"),
        format!("rediss://:p@127.0.0.1:{plain}/0"),
    ];
    refused("expired", reach(&late, &pki, "ca.pem", true).await, "xpired");

    // Servers that speak plain text: the same ports without TLS, and a PostgreSQL without certificates.
    let others = crate::harness::servers().await;
    let deaf = [
        others.rabbitmq.amqp_url().replace("amqp://", "amqps://"),
        database(others.postgres.database_url("postgres"), "127.0.0.1"),
        others.redis.url(0).replace("redis://", "rediss://"),
    ];
    refused("plain text", reach(&deaf, &pki, "ca.pem", true).await, "");

    // The test itself has no certificate, and looks at the database without TLS.
    let own = servers.postgres.create_database("own").await.expect("database") + "?sslmode=disable";
    let vhost = servers.rabbitmq.add_vhost("own").await.expect("vhost");
    let place = Place::prepare(vhost, own, servers.redis.url(0), "own".to_owned()).await;
    // RabbitMQ knows the worker by the name in its certificate; no password is sent, and the user has none.
    let ctl = async |arguments: &[&str]| servers.rabbitmq.ctl(arguments).await.map(drop);
    let by_certificate =
        servers.rabbitmq.amqps_url("127.0.0.1").replace("guest:guest@", "") + "?auth_mechanism=external";
    let stranger = reach(&[by_certificate.clone(), late[1].clone(), late[2].clone()], &pki, "ca.pem", true).await;
    assert!(stranger[0].is_err(), "a name that RabbitMQ does not know");
    ctl(&["add_user", "client", "for a moment"]).await.expect("user");
    ctl(&["clear_password", "client"]).await.expect("no password");
    ctl(&["set_permissions", "--vhost", "own", "client", ".*", ".*", ".*"]).await.expect("permissions");
    let [_, postgres, redis] = urls("127.0.0.1");
    fleet_over_tls(&place, &pki, &[by_certificate, postgres, redis], &servers).await;
}

/// A worker that reaches its servers over TLS alone, and RabbitMQ without a password, does all of its work, and serves its
/// API over TLS.
async fn fleet_over_tls(place: &Place, pki: &Pki, urls: &[String; 3], servers: &Servers) {
    let [amqp, _, redis] = urls;
    let (amqp, postgres) = (amqp.replace("/%2f", "/own"), place.database_url.replace("disable", "verify-full"));
    let file = |name| pki.path(name);
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let (api_cert, api_key) = (file("server.pem"), file("server.key"));
    let worker = place
        .worker(&[
            ("AMQP_URL", &amqp),
            ("DATABASE_URL", &postgres),
            ("REDIS_URL", redis),
            ("CLAIMRISK_TLS_CA_FILE", &ca),
            ("CLAIMRISK_TLS_CERT_FILE", &cert),
            ("CLAIMRISK_TLS_KEY_FILE", &key),
            ("CLAIMRISK_REDIS_TIMEOUT_MS", "5000"),
            ("CLAIMRISK_API_CERT_FILE", &api_cert),
            ("CLAIMRISK_API_KEY_FILE", &api_key),
        ])
        .await;
    place.publish(&[claim("e1", "PCN-1", |_| ())]).await;
    place.wait_count("SELECT count(*) FROM risk_scores", 1).await;
    let sessions = "SELECT count(*) FILTER (WHERE s.ssl), count(*) FILTER (WHERE NOT s.ssl) FROM pg_stat_ssl s
                    JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'claimrisk' AND a.datname = 'own'";
    let sessions = servers.postgres.sql("postgres", sessions).await.expect("counts");
    assert!(sessions.ends_with("|0") && sessions != "0|0", "encrypted|plain: {sessions}");

    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&pki.text("ca.pem")));
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", worker.http)).await.expect("connects");
    let name = ServerName::try_from("127.0.0.1").expect("name");
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("TLS");
    stream.write_all(b"GET /api/v1/risk/1 HTTP/1.0\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer));

    load_over_tls(place, &worker, pki);
    let mut plain = TcpStream::connect(("127.0.0.1", worker.http)).await.expect("connects");
    plain.write_all(b"GET /api/v1/risk/1 HTTP/1.0\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/"), "plain text is not answered");
    let metrics = worker.metrics().await;
    assert!(
        metrics.iter().any(|(name, value)| name.starts_with("claimrisk_cache_write_throughs_total") && *value > 0.0)
    );
    assert_eq!(worker.terminate(), 0);
}

/// `claimrisk load` believes the API by the authority that is named, and no other.
fn load_over_tls(place: &Place, worker: &Worker, pki: &Pki) {
    let url = format!("https://127.0.0.1:{}", worker.http);
    let load = |ca: &str| {
        let mut command = place.command(&["load", "--url", &url, "--requests", "20", "--concurrent", "2"]);
        command.env("CLAIMRISK_TLS_CA_FILE", pki.path(ca)).output().expect("runs")
    };
    let output = load("ca.pem");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let refused = load("other.pem");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(69) && told.contains("UnknownIssuer"), "{told}");
}
