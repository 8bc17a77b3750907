//! Calls at a time, and callers who leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bantam_backend::{Answer, Backend, BackendFault};
use bantam_remote::UpstreamSettings;
use bantam_simulate::{Behaviour, StreamEnd, completion_body, completion_events};
use bantam_types::Tier;
use bantam_wire::CallKind;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{HI, PATIENCE, ask, call, cleared, fault_of, http_events, model, read, settings, start};

/// Accepts one connection and reads a request's head from it.
async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 4096];
    let read = socket.read(&mut buffer).await.unwrap();
    assert!(read > 0);
    socket
}

/// Checks that the other side has closed.
async fn check_closed(mut socket: TcpStream) {
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection stays open");
}

#[tokio::test]
async fn a_caller_who_leaves_closes_the_connection() {
    for stream in [false, true] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let model = model(settings(&format!("http://{}", listener.local_addr().unwrap())));
        let running = tokio::spawn(async move { call(&model, HI, stream).await.map(drop) });
        let socket = accept(&listener).await;
        running.abort();
        check_closed(socket).await;
    }
}

#[tokio::test]
async fn a_caller_who_leaves_in_mid_stream_closes_the_connection() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let model = model(settings(&format!("http://{}", listener.local_addr().unwrap())));
    let running = tokio::spawn(async move { call(&model, HI, true).await });
    let mut socket = accept(&listener).await;
    let bytes = http_events(&completion_events("m", "a b", 1, 1)[..2], true);
    socket.write_all(&bytes[..bytes.len() - 5]).await.unwrap();
    let Ok(Answer::Stream(mut stream)) = running.await.unwrap() else { panic!("no stream") };
    stream.items.next().await.unwrap().unwrap();
    drop(stream);
    check_closed(socket).await;
}

#[tokio::test]
async fn more_calls_than_allowed_are_refused_at_once() {
    let upstream = start(|_| Behaviour::Hang).await;
    let model = model(UpstreamSettings { concurrent_requests_max: 2, ..settings(&upstream.base_url()) });
    let running: Vec<_> = (0..2)
        .map(|_| {
            let model = Arc::clone(&model);
            tokio::spawn(async move { call(&model, HI, false).await.map(drop) })
        })
        .collect();
    while upstream.count() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(fault_of(call(&model, HI, false).await).fault, BackendFault::Busy);
    assert!(model.is_available(CallKind::Chat), "a full upstream is no broken one");
    assert_eq!(upstream.count(), 2);
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_stream_keeps_its_place_to_its_end() {
    let upstream = start(|_| Behaviour::events(completion_events("m", "a", 1, 1), StreamEnd::Done)).await;
    let model = model(UpstreamSettings { concurrent_requests_max: 1, ..settings(&upstream.base_url()) });
    let first = call(&model, HI, true).await.unwrap();
    assert_eq!(fault_of(call(&model, HI, true).await).fault, BackendFault::Busy);
    drop(first);
    let Ok(Answer::Stream(mut stream)) = call(&model, HI, true).await else { panic!("no stream") };
    while stream.items.next().await.is_some() {}
    drop(stream);
    call(&model, HI, true).await.unwrap();
}

#[tokio::test]
async fn a_request_cleared_for_another_tier_is_refused_without_a_byte_sent() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let model = model(settings(&format!("http://{}", listener.local_addr().unwrap())));
    for tier in [Tier::Local, Tier::Mid] {
        for stream in [false, true] {
            let error = fault_of(model.answer(cleared(HI, tier), ask(stream)).await);
            assert_eq!(error.fault, BackendFault::NotCleared);
        }
    }
    let connected = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(connected.is_err(), "a connection was made");
}

/// Counts the connections that twenty calls after each other take.
async fn connections_of_twenty_calls(stream: bool) -> u32 {
    let upstream = start(|received| match received.wants_stream() {
        true => Behaviour::events(completion_events("m", "yes", 1, 1), StreamEnd::Done),
        false => Behaviour::ok(completion_body("m", "yes", 1, 1)),
    })
    .await;
    let address = upstream.base_url().replace("http://", "").replace("/v1", "");
    // A relay that counts connections in front of the upstream.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let relay = format!("http://{}/v1", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut server = TcpStream::connect(&address).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let model = model(settings(&relay));
    for _ in 0..20 {
        let got = read(call(&model, HI, stream).await).await;
        assert_eq!(got.fault, None);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    connections.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_connection_is_used_again() {
    assert_eq!(connections_of_twenty_calls(false).await, 1);
    assert_eq!(connections_of_twenty_calls(true).await, 1);
}
