//! A folder as a raw source. Invariant: nothing outside the folder is ever read, whatever the path or a link says.

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use std::{
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{
    fs::{self, File},
    io::AsyncReadExt,
};
use weir_hls::media_type;
use weir_relay::source::{RawRequest, RawResponse, RawSource, SourceError};

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be opened.
    #[error("cannot read folder {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It is a file.
    #[error("{0} is not a folder")]
    NotAFolder(PathBuf),
}

/// A folder with HLS in it.
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `path`.
    pub fn new(path: &Path) -> Result<Self, FolderError> {
        let root = path.canonicalize().map_err(|error| FolderError::Unreadable(path.to_owned(), error))?;
        if !root.is_dir() {
            return Err(FolderError::NotAFolder(root));
        }
        Ok(Self { root })
    }

    /// The file behind a request path; `None` when there is none inside the folder.
    async fn find(&self, path_and_query: &str) -> Option<(PathBuf, std::fs::Metadata)> {
        let path = path_and_query.split('?').next()?;
        let decoded = percent_decode_str(path).decode_utf8().ok()?;
        let relative = decoded.trim_start_matches('/');
        if relative.contains('\0') {
            return None;
        }
        let found = fs::canonicalize(self.root.join(relative)).await.ok()?;
        if !found.starts_with(&self.root) {
            return None;
        }
        let metadata = fs::metadata(&found).await.ok()?;
        metadata.is_file().then_some((found, metadata))
    }

    async fn get(&self, request: &RawRequest) -> Result<RawResponse, SourceError> {
        if request.asked.is_passed() {
            let allow = HeaderMap::from_iter([(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"))]);
            return Ok(empty(StatusCode::METHOD_NOT_ALLOWED, allow));
        }
        let Some((path, metadata)) = self.find(&request.path_and_query).await else {
            return Ok(empty(StatusCode::NOT_FOUND, HeaderMap::new()));
        };
        let unreadable =
            |error: io::Error| SourceError::BadResponse(format!("cannot read {}: {error}", path.display()));
        let modified = metadata.modified().map_err(unreadable)?;
        let headers = describe(&path, metadata.len(), modified);
        let etag = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
        if etag.is_some() && request.validators.as_ref().is_some_and(|held| held.etag.as_deref() == etag) {
            return Ok(empty(StatusCode::NOT_MODIFIED, headers));
        }
        let file = File::open(&path).await.map_err(unreadable)?;
        let length = metadata.len();
        // A file that grows meanwhile is served as long as it was when it was opened.
        let pieces = stream::try_unfold((file.take(length), length), |(mut file, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let mut buffer = vec![0; READ.min(usize::try_from(left).unwrap_or(READ))];
            let read = file.read(&mut buffer).await;
            let read = read.map_err(|error| SourceError::Unreachable(format!("cannot read on: {error}")))?;
            if read == 0 {
                return Err(SourceError::Unreachable("the file became shorter while it was read".into()));
            }
            buffer.truncate(read);
            Ok(Some((Bytes::from(buffer), (file, left - read as u64))))
        });
        Ok(RawResponse { status: StatusCode::OK, headers, length: Some(length), body: pieces.boxed() })
    }
}

fn describe(path: &Path, length: u64, modified: SystemTime) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let nanos = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let name = path.to_string_lossy();
    let fields = [
        (header::CONTENT_TYPE, media_type(&name).unwrap_or("application/octet-stream").to_owned()),
        (header::ETAG, format!("\"{length:x}-{nanos:x}\"")),
        (header::LAST_MODIFIED, httpdate::fmt_http_date(modified)),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers
}

fn empty(status: StatusCode, headers: HeaderMap) -> RawResponse {
    RawResponse { status, headers, length: Some(0), body: stream::empty().boxed() }
}

impl RawSource for Folder {
    fn fetch<'a>(&'a self, request: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>> {
        self.get(request).boxed()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::freshness::Validators;

    async fn get(folder: &Folder, path: &str, etag: Option<String>) -> (StatusCode, Vec<u8>, HeaderMap) {
        let validators = etag.map(|etag| Validators { etag: Some(etag), last_modified: None });
        let request = RawRequest { path_and_query: path.into(), validators, ..RawRequest::default() };
        let response = folder.fetch(&request).await.unwrap();
        let pieces: Vec<_> = response.body.map(|piece| piece.unwrap()).collect().await;
        (response.status, pieces.concat(), response.headers)
    }

    #[tokio::test]
    async fn files_are_served_and_nothing_else() {
        let outside = tempfile::tempdir().unwrap();
        let inside = outside.path().join("hls");
        std::fs::create_dir_all(inside.join("a b")).unwrap();
        std::fs::write(outside.path().join("secret"), "no").unwrap();
        std::fs::write(inside.join("a b/x.m3u8"), "#EXTM3U\n").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), inside.join("link")).unwrap();
        let folder = Folder::new(&inside).unwrap();
        let (status, body, headers) = get(&folder, "/a%20b/x.m3u8?q=1", None).await;
        assert_eq!((status, body.as_slice()), (StatusCode::OK, b"#EXTM3U\n".as_slice()));
        assert_eq!(headers[header::CONTENT_TYPE], "application/vnd.apple.mpegurl");
        let etag = headers[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(get(&folder, "/a%20b/x.m3u8", Some(etag)).await.0, StatusCode::NOT_MODIFIED);
        for path in ["/../secret", "/%2e%2e/secret", "/link", "/a%20b", "/", "//etc/passwd", "/x%00"] {
            assert_eq!(get(&folder, path, None).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn a_large_file_comes_whole() {
        let directory = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(directory.path().join("s.ts"), &content).unwrap();
        let folder = Folder::new(directory.path()).unwrap();
        assert_eq!(get(&folder, "/s.ts", None).await.1, content);
    }
}
