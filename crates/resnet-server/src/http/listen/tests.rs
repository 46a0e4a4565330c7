//! Connections of HTTP/2, in time that passes only when nothing else happens.

use h2::Ping;
use h2::client::{Connection, SendRequest};
use tokio::io::DuplexStream;
use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::http::Reply;

/// Answers everything with more than a window's first bytes.
struct Large;

impl App for Large {
    fn call(self: Arc<Self>, _: Call) -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        Box::pin(async { Reply::bytes("text/plain", vec![7; 100_000]) })
    }
}

const TIMEOUTS: Timeouts = Timeouts {
    header: Duration::from_secs(10),
    body: Duration::from_secs(30),
    idle: Duration::from_secs(75),
};

/// A connection that is served, whose first window is of so many bytes; and what tells the server
/// to close.
async fn connect(
    window: u32,
) -> (SendRequest<Bytes>, Connection<DuplexStream>, watch::Sender<Phase>, impl Future) {
    let (phase, phases) = watch::channel(Phase::Serving);
    let listening = Listening::in_test(Arc::new(Large), TIMEOUTS, phases);
    let (near, far) = tokio::io::duplex(1 << 16);
    let served = tokio::spawn(async move {
        listening.speak(far, SocketAddr::from(([127, 0, 0, 1], 1))).await;
    });
    let mut client = h2::client::Builder::new();
    let (send, connection) = client.initial_window_size(window).handshake(near).await.unwrap();
    (send, connection, phase, served)
}

async fn ask(send: &mut SendRequest<Bytes>) -> h2::RecvStream {
    let mut ready = send.clone().ready().await.unwrap();
    let request = Request::post("http://localhost/").body(()).unwrap();
    let (answer, _) = ready.send_request(request, true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

async fn length(mut body: h2::RecvStream) -> usize {
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    length
}

#[tokio::test(start_paused = true)]
async fn pings_between_calls_are_no_heads() {
    let (mut send, mut connection, _phase, _served) = connect(1 << 16).await;
    let mut pings = connection.ping_pong().unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(length(ask(&mut send).await).await, 100_000);
    pings.ping(Ping::opaque()).await.unwrap();
    advance(TIMEOUTS.idle - Duration::from_secs(1)).await;
    pings.ping(Ping::opaque()).await.unwrap();
    let last = Instant::now();
    assert_eq!(length(ask(&mut send).await).await, 100_000);
    // The client is told that it ends, and then it ends.
    connection.await.unwrap().unwrap();
    assert_eq!(last.elapsed().as_secs(), TIMEOUTS.idle.as_secs());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_asks_for_keeps_no_connection() {
    let (mut send, connection, _phase, served) = connect(0).await;
    let connection = tokio::spawn(connection);
    let body = ask(&mut send).await;
    assert!(timeout(3 * TIMEOUTS.idle, served).await.is_ok());
    drop((body, connection));
}

#[tokio::test(start_paused = true)]
async fn who_closes_does_not_wait_for_the_deaf() {
    let (mut send, connection, phase, served) = connect(1 << 16).await;
    let hearing = tokio::spawn(connection);
    assert_eq!(length(ask(&mut send).await).await, 100_000);
    let began = Instant::now();
    phase.send(Phase::Closing).unwrap();
    served.await;
    hearing.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);

    let (_send, deaf, phase, served) = connect(1 << 16).await;
    tokio::task::yield_now().await;
    let began = Instant::now();
    phase.send(Phase::Closing).unwrap();
    served.await;
    assert_eq!(began.elapsed().as_secs(), GOODBYE.as_secs());
    drop(deaf);
}
