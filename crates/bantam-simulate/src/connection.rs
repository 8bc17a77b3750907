//! One connection of the simulated upstream, with hand-written HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::script::{Behaviour, Received, StreamEnd};
use crate::upstream::Shared;

/// The largest request that is read.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Answers requests until the connection ends.
pub(crate) async fn serve(mut socket: TcpStream, shared: Arc<Shared>) {
    let _ = socket.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(received) = read_request(&mut socket, &mut buffer, &shared).await {
        let behaviour = (shared.script)(&received);
        if shared.keep {
            shared.received.lock().push(received);
        }
        if act(&mut socket, behaviour).await.is_none() {
            return;
        }
    }
}

async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>, shared: &Shared) -> Option<Received> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        read_more(socket, buffer).await?;
    };
    let head = String::from_utf8_lossy(buffer.get(..head_end)?).into_owned();
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    while buffer.len() < head_end + length {
        read_more(socket, buffer).await?;
    }
    let body = buffer.get(head_end..head_end + length)?.to_vec();
    buffer.drain(..head_end + length);
    let number = shared.count.fetch_add(1, Ordering::SeqCst);
    Some(Received { head, body, number })
}

async fn read_more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let read = socket.read_buf(buffer).await.ok()?;
    (read > 0 && buffer.len() <= REQUEST_BYTES_MAX).then_some(())
}

/// Carries out a behaviour; `None` ends the connection.
async fn act(socket: &mut TcpStream, behaviour: Behaviour) -> Option<()> {
    match behaviour {
        Behaviour::Answer { status, headers, body, delay } => {
            wait(delay).await;
            let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
            let answer = format!(
                "HTTP/1.1 {status} Simulated\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{more}\r\n{body}",
                body.len()
            );
            socket.write_all(answer.as_bytes()).await.ok()
        }
        Behaviour::Events { events, delay, gap, end } => stream(socket, &events, delay, gap, end).await,
        Behaviour::Raw(bytes) => {
            socket.write_all(&bytes).await.ok()?;
            None
        }
        Behaviour::RawThenHang(bytes) => {
            socket.write_all(&bytes).await.ok()?;
            hang(socket).await
        }
        Behaviour::Hang => hang(socket).await,
        Behaviour::Close => None,
    }
}

async fn stream(
    socket: &mut TcpStream,
    events: &[String],
    delay: Duration,
    gap: Duration,
    end: StreamEnd,
) -> Option<()> {
    wait(delay).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.ok()?;
    for (position, event) in events.iter().enumerate() {
        if position > 0 {
            wait(gap).await;
        }
        send_event(socket, event).await?;
    }
    match end {
        StreamEnd::Done => {
            send_event(socket, "[DONE]").await?;
            socket.write_all(b"0\r\n\r\n").await.ok()
        }
        StreamEnd::Cut => None,
        StreamEnd::Endless => {
            let last = events.last()?;
            loop {
                send_event(socket, last).await?;
            }
        }
        StreamEnd::Hang => hang(socket).await,
    }
}

async fn send_event(socket: &mut TcpStream, data: &str) -> Option<()> {
    let event = format!("data: {data}\n\n");
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    socket.write_all(chunk.as_bytes()).await.ok()
}

async fn wait(pause: Duration) {
    if !pause.is_zero() {
        sleep(pause).await;
    }
}

/// Sends nothing until the other side closes the connection.
async fn hang(socket: &mut TcpStream) -> Option<()> {
    let mut rest = [0; 1024];
    while socket.read(&mut rest).await.ok()? > 0 {}
    None
}
