//! TLS for both protocols: libp2p certificates, mutual authentication by PeerId, protocol chosen by ALPN.
//!
//! Invariant: every configuration made here requires a valid libp2p certificate from the other side, resumes no
//! session and logs no key.

use std::sync::Arc;

use libp2p::identity::Keypair;
use libp2p::{PeerId, tls};
use quinn::EndpointConfig;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::pki_types::CertificateDer;

use super::error::TlsError;

/// ALPN of control connections: libp2p.
pub const ALPN_CONTROL: &[u8] = b"libp2p";
/// ALPN of bulk connections: the Weir peer protocol, version 1.
pub const ALPN_BULK: &[u8] = b"weir/1";

/// Domain of the key for stateless resets.
const RESET_KEY_DOMAIN: &[u8] = b"weir/quic-reset/1";
/// Domain of the key that marks our connection ids.
const CID_KEY_DOMAIN: &[u8] = b"weir/quic-cid/1";

pub(super) fn server(identity: &Keypair) -> Result<QuicServerConfig, TlsError> {
    let mut config = tls::make_server_config(identity)?;
    config.alpn_protocols = vec![ALPN_CONTROL.to_vec(), ALPN_BULK.to_vec()];
    // libp2p would honour SSLKEYLOGFILE; an environment variable must not spill the peers' secrets.
    config.key_log = Arc::new(rustls::NoKeyLog);
    // Connections are few and long; without tickets there is no state to keep and no early data to replay.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(QuicServerConfig::try_from(config)?)
}

/// With `expected`, the handshake itself fails when another peer answers, before our identity is shown to it.
pub(super) fn client(identity: &Keypair, alpn: &[u8], expected: Option<PeerId>) -> Result<QuicClientConfig, TlsError> {
    let mut config = tls::make_client_config(identity, expected)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.key_log = Arc::new(rustls::NoKeyLog);
    config.resumption = rustls::client::Resumption::disabled();
    Ok(QuicClientConfig::try_from(config)?)
}

/// The identity that the other side proved in the handshake.
pub(super) fn peer_of(connection: &quinn::Connection) -> Result<PeerId, TlsError> {
    let chain =
        connection.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let certificate = chain.as_ref().and_then(|chain| chain.first()).ok_or(TlsError::NoIdentity)?;
    Ok(tls::certificate::parse(certificate).map_err(|_| TlsError::NoIdentity)?.peer_id())
}

/// The protocol that both sides agreed on.
pub(super) fn protocol_of(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

/// The endpoint's part of the configuration: keys for stateless resets (RFC 9000 section 10.3).
///
/// They derive from the node key, so that a node that was killed and restarted tells its peers at once that their
/// connections are gone, instead of leaving them to the idle time-out. For key types that cannot derive secrets the
/// keys are random, and such peers wait.
pub(super) fn endpoint(identity: &Keypair) -> EndpointConfig {
    let (Some(reset), Some(cid)) = (identity.derive_secret(RESET_KEY_DOMAIN), identity.derive_secret(CID_KEY_DOMAIN))
    else {
        return EndpointConfig::default();
    };
    let mut config = EndpointConfig::new(Arc::new(ResetKey(reset)));
    // Connection ids carry a short tag, and only packets with a valid one are answered by a reset. Without a stable
    // key the restarted node would not recognise its own former ids.
    let [a, b, c, d, e, f, g, h, ..] = cid;
    let key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
    config
}

struct ResetKey([u8; blake3::KEY_LEN]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // `blake3::Hash` compares in constant time.
        if blake3::keyed_hash(&self.0, data) == *signature { Ok(()) } else { Err(CryptoError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_tokens_are_keyed() {
        let (one, other) = (ResetKey([1; 32]), ResetKey([2; 32]));
        let mut signature = [0; blake3::OUT_LEN];
        one.sign(b"connection id", &mut signature);
        assert!(one.verify(b"connection id", &signature).is_ok());
        assert!(one.verify(b"another id", &signature).is_err());
        assert!(other.verify(b"connection id", &signature).is_err());
        assert!(one.verify(b"connection id", b"short").is_err());
    }
}
