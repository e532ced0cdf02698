//! Reading a request's body into memory, within its limit.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use sealvol_sys::WipedBuffer;
use zeroize::Zeroizing;

/// Allocated at once; a client that announces more has to send it first.
const FIRST_LEN_MAX: usize = 64 << 10;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// Longer than allowed. What is not read yet stays unread.
    TooLarge,
    /// The connection ended or broke HTTP's rules.
    Broken,
}

/// The whole body. It is wiped when dropped; what the HTTP library buffered on the way is not.
pub(crate) async fn read<B>(mut body: B, max: usize) -> Result<Zeroizing<Vec<u8>>, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max {
        return Err(BodyFault::TooLarge);
    }
    let mut buffer = WipedBuffer::with_capacity(announced.min(FIRST_LEN_MAX));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(BodyFault::Broken) };
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > max - buffer.len() {
            return Err(BodyFault::TooLarge);
        }
        buffer.push(&data);
    }
    Ok(buffer.into_inner())
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let body = |len| Full::new(Bytes::from(vec![7_u8; len]));
        assert_eq!(*read(body(10), 10).await.unwrap(), [7; 10]);
        assert_eq!(read(body(11), 10).await, Err(BodyFault::TooLarge));
        assert!(read(body(0), 0).await.unwrap().is_empty());
    }
}
