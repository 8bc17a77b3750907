//! Stopping: nobody who came before is sent away, everybody who is served is served to the end.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use bantam_server::ServerSettings;
use bantam_types::RequestOutcome;
use tokio::net::TcpStream;

use crate::support::{Setup, chat, get, in_time, post, start, stream_body};

#[tokio::test]
async fn requests_that_run_are_answered_and_then_the_server_ends() {
    let server = start(Setup::default()).await;
    let mut clients = Vec::new();
    for request in [chat("slow"), post("", &stream_body("slow"))] {
        let mut client = server.connect().await;
        client.send(&request).await;
        clients.push(client);
    }
    let mut idle = server.connect().await;
    idle.send(&get("/healthz")).await;
    assert_eq!(idle.response().await.status, 200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.notify_one();
    for client in &mut clients {
        let response = client.response().await;
        assert_eq!(response.status, 200);
        assert!(response.body.contains("two"), "{response:?}");
        assert!(client.closes().await, "the connection is not offered again");
    }
    assert!(idle.closes().await);
    in_time(server.serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is still open");
}

#[tokio::test]
async fn connections_that_the_system_has_made_before_the_stop_are_served() {
    let server = start(Setup::default()).await;
    // On this one thread the server runs only while the test waits: all of these lie in the backlog.
    let mut sockets: Vec<std::net::TcpStream> = (0..50)
        .map(|_| {
            let mut socket = std::net::TcpStream::connect(server.address).unwrap();
            socket.write_all(chat("hi").as_bytes()).unwrap();
            socket
        })
        .collect();
    server.stop.notify_one();
    in_time(server.serving).await.unwrap().unwrap();
    for socket in &mut sockets {
        let mut response = String::new();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = socket.read_to_string(&mut response);
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response:?}");
    }
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_server() {
    let settings = ServerSettings { drain_timeout: Duration::from_millis(200), ..Setup::default().settings };
    let mut server = start(Setup { settings, ..Setup::default() }).await;
    let mut client = server.connect().await;
    client.send(&chat("never")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    server.stop.notify_one();
    in_time(&mut server.serving).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(client.closes().await);
    assert_eq!(server.settled(1).await[0].outcome, RequestOutcome::Cancelled);
}
