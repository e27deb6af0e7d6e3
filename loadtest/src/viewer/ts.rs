//! MPEG-2 transport stream packets of one segment (ISO/IEC 13818-1 section 2.4.3). Counters are compared within a
//! segment only: packagers may restart them at each.

use std::collections::HashMap;

/// Bytes of a packet.
const PACKET: usize = 188;
/// First byte of every packet.
pub(super) const SYNC: u8 = 0x47;
/// Packets without content, whose counter means nothing.
const NULL_PID: u16 = 0x1fff;

/// What is wrong with a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TsError {
    /// A packet does not begin where it should.
    #[error("no sync byte at {0}")]
    Sync(usize),
    /// The segment ends within a packet.
    #[error("{0} bytes after the last whole packet")]
    Partial(usize),
    /// A packet of a stream is missing or was repeated.
    #[error("PID {pid}: continuity counter {found} after {before} at packet {packet}")]
    Counter {
        /// The stream.
        pid: u16,
        /// Counter of the stream's packet before.
        before: u8,
        /// Counter found.
        found: u8,
        /// Index of the packet.
        packet: usize,
    },
}

/// Checks a segment, up to the first thing that is wrong.
pub(super) fn check(segment: &[u8]) -> Result<(), TsError> {
    let mut counters: HashMap<u16, (u8, bool)> = HashMap::new();
    let packets = segment.chunks_exact(PACKET);
    let rest = packets.remainder().len();
    for (index, packet) in packets.enumerate() {
        if packet[0] != SYNC {
            return Err(TsError::Sync(index * PACKET));
        }
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        if pid == NULL_PID {
            continue;
        }
        let has_payload = packet[3] & 0x10 != 0;
        let has_adaptation = packet[3] & 0x20 != 0;
        let found = packet[3] & 0x0f;
        let announced = has_adaptation && packet[4] > 0 && packet[5] & 0x80 != 0;
        let mut repeated = false;
        if let Some(&(before, was_repeated)) = counters.get(&pid)
            && !announced
        {
            // A packet with payload may be sent twice (section 2.4.3.3); one without keeps the counter.
            repeated = has_payload && found == before;
            let fits =
                if has_payload { found == (before + 1) & 0x0f || (repeated && !was_repeated) } else { found == before };
            if !fits {
                return Err(TsError::Counter { pid, before, found, packet: index });
            }
        }
        counters.insert(pid, (found, repeated));
    }
    if rest == 0 { Ok(()) } else { Err(TsError::Partial(rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pid: u16, counter: u8, control: u8) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut packet = vec![SYNC, high, low, control | counter];
        packet.resize(PACKET, 0);
        packet
    }

    fn payload(pid: u16, counter: u8) -> Vec<u8> {
        packet(pid, counter, 0x10)
    }

    #[test]
    fn counters_run_for_each_stream_and_wrap() {
        let good = [payload(1, 14), payload(2, 3), payload(1, 15), payload(1, 0), payload(2, 4)].concat();
        assert_eq!(check(&good), Ok(()));
        let repeated = [payload(1, 1), payload(1, 1), payload(1, 2)].concat();
        assert_eq!(check(&repeated), Ok(()));
        let adaptation_only = [payload(1, 1), packet(1, 1, 0x20), payload(1, 2)].concat();
        assert_eq!(check(&adaptation_only), Ok(()));
    }

    #[test]
    fn a_missing_packet_or_byte_is_found() {
        let missing = [payload(1, 1), payload(1, 3)].concat();
        assert_eq!(check(&missing), Err(TsError::Counter { pid: 1, before: 1, found: 3, packet: 1 }));
        let thrice = [payload(1, 1), payload(1, 1), payload(1, 1)].concat();
        assert!(matches!(check(&thrice), Err(TsError::Counter { packet: 2, .. })));
        let mut shifted = [payload(1, 1), payload(1, 2)].concat();
        shifted.remove(100);
        assert_eq!(check(&shifted), Err(TsError::Partial(187)));
        shifted.extend_from_slice(&payload(1, 3)[..1]);
        assert_eq!(check(&shifted), Err(TsError::Sync(188)));
    }
}
