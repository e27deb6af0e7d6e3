//! What the store reports to metrics. The labels are closed sets, so that no name of a resource becomes one.

macro_rules! label {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// The value of the metrics label.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

label! {
    /// A tier of the store.
    Tier {
        /// Bytes in memory.
        Memory = "memory",
        /// Files on disk.
        Disk = "disk",
    }
}

label! {
    /// Why an entry left a tier.
    EvictReason {
        /// Others needed the room.
        Capacity = "capacity",
        /// A part of it was found damaged or missing.
        Damaged = "damaged",
    }
}

label! {
    /// Where damage was found.
    IntegrityStage {
        /// A body file is missing, too short, too long or does not hash to its name.
        DiskBody = "disk_body",
        /// An index entry cannot be read or names another resource.
        DiskIndex = "disk_index",
        /// A stored record verifies but is over another body.
        DiskRecord = "disk_record",
    }
}

label! {
    /// Work of the disk tier.
    DiskOp {
        /// Read and hash one body.
        Read = "read",
        /// Write one body.
        Write = "write",
        /// Commit one index transaction.
        Commit = "commit",
    }
}

label! {
    /// Why an entry got no copy on disk.
    SkipReason {
        /// The writer has enough waiting.
        QueueFull = "queue_full",
        /// It is longer than what the tiers may hold.
        TooLarge = "too_large",
        /// Nothing that outlives the process vouches for it.
        Unvouched = "unvouched",
        /// The disk is full of what somebody asked for again, and nobody has asked for this twice.
        NotAdmitted = "not_admitted",
        /// The file system refused.
        Error = "error",
    }
}

/// Hooks for metrics. Called from hot and from blocking threads: implementations count and return.
pub trait StoreEvents: Send + Sync + 'static {
    /// An entry left a tier.
    fn evicted(&self, tier: Tier, reason: EvictReason);
    /// Damage was found; nothing of it was served.
    fn integrity_failure(&self, stage: IntegrityStage);
    /// A disk operation took `seconds`.
    fn disk_io(&self, op: DiskOp, seconds: f64);
    /// An entry got no copy on disk (`TooLarge`: nor in memory).
    fn skipped(&self, reason: SkipReason);
}

/// Counts nothing.
impl StoreEvents for () {
    fn evicted(&self, _: Tier, _: EvictReason) {}
    fn integrity_failure(&self, _: IntegrityStage) {}
    fn disk_io(&self, _: DiskOp, _: f64) {}
    fn skipped(&self, _: SkipReason) {}
}
