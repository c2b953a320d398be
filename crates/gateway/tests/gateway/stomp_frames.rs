//! STOMP's frames in whatever pieces they come, and more of them than the node takes at a time.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Client, frame, soon};
use crate::running::Running;

/// More than commands per second, and than may be unanswered.
const FRAMES: usize = 450;

/// CONNECT, then a SEND and a subscription's receipts, all at once.
fn frames() -> Vec<u8> {
    let mut frames = b"CONNECT\naccept-version:1.2,1.1\n\n\0\n".to_vec();
    for number in 0..FRAMES {
        let body = format!("{number}\0{}", "x".repeat(number % 7 * 100));
        let length = body.len();
        let head = format!("SEND\ndestination:/topic/chat:1\nreceipt:r{number}\ncontent-length:{length}\n\n");
        frames.extend_from_slice(head.as_bytes());
        frames.extend_from_slice(body.as_bytes());
        frames.extend_from_slice(b"\0\r\n\n");
    }
    frames
}

/// The number of the receipt in a text, if it is one.
fn receipts(text: &str) -> Vec<usize> {
    let ids = text.split('\0').filter_map(|frame| frame.split_once("receipt-id:r"));
    ids.map(|(_, rest)| rest.lines().next().unwrap().parse().unwrap()).collect()
}

fn running() -> Running {
    Running::plain(|config| {
        config.stomp.listen = Some("127.0.0.1:0".parse().unwrap());
        // All of it fits into one message.
        config.message_bytes = 1 << 20;
    })
}

#[tokio::test]
async fn every_frame_of_a_flood_is_dealt_with_once_and_in_order_over_tcp() {
    let running = running();
    for size in [usize::MAX, 1000, 17] {
        let mut stream = TcpStream::connect(running.gateway.stomp_local_addr().unwrap()).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let frames = frames();
        let write = async {
            for piece in frames.chunks(size.min(frames.len())) {
                writer.write_all(piece).await.unwrap();
            }
        };
        let mut heard = Vec::new();
        let read = async {
            while receipts(&String::from_utf8_lossy(&heard)).len() < FRAMES {
                assert!(reader.read_buf(&mut heard).await.unwrap() > 0, "{}", String::from_utf8_lossy(&heard));
            }
        };
        soon("all receipts", async { tokio::join!(write, read) }).await;
        assert_eq!(receipts(&String::from_utf8_lossy(&heard)), (0..FRAMES).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn every_frame_of_a_flood_is_dealt_with_once_and_in_order_over_websocket() {
    let running = running();
    for size in [usize::MAX, 3000] {
        let mut client = Client::opened(running.address(), "/stomp", "").await;
        let all = frames();
        let packed: Vec<u8> = all.chunks(size.min(all.len())).flat_map(|piece| frame(0x82, piece)).collect();
        // What comes behind the packed frames must not overtake them.
        let mut last = b"SEND\ndestination:/topic/chat:1\nreceipt:r".to_vec();
        last.extend_from_slice(format!("{FRAMES}\n\n\0").as_bytes());
        client.stream.write_all(&[packed, frame(0x81, &last)].concat()).await.unwrap();
        let mut heard = Vec::new();
        let read = async {
            while heard.len() <= FRAMES {
                let (_, payload) = client.frame().await;
                heard.extend(receipts(&String::from_utf8(payload).unwrap()));
            }
        };
        soon("all receipts", read).await;
        assert_eq!(heard, (0..=FRAMES).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_version_that_is_agreed_decides_whatever_the_subprotocol_was() {
    let running = running();
    let mut client =
        Client::opened(running.address(), "/stomp", "Sec-WebSocket-Protocol: v10.stomp, v12.stomp\r\n").await;
    let asked = "CONNECT\naccept-version:1.0,1.1,1.2\n\n\0SUBSCRIBE\nid:1\ndestination:/topic/chat:1\nack:client\n\n\0\
                 SEND\ndestination:/topic/chat:1\n\nx\0";
    client.stream.write_all(&frame(0x81, asked.as_bytes())).await.unwrap();
    let (_, connected) = soon("CONNECTED", client.frame()).await;
    assert!(String::from_utf8(connected).unwrap().contains("\nversion:1.2\n"));
    let (_, message) = soon("MESSAGE", client.frame()).await;
    let message = String::from_utf8(message).unwrap();
    assert!(message.contains("\nack:1-1\n") && message.contains("chat\\c1"), "{message}");
}
