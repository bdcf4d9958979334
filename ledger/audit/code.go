package audit

// A Code names what an audit found. Codes are stable: programs may compare them.
type Code string

// What is wrong with files and signatures.
const (
	CheckpointMalformed Code = "checkpoint_malformed" // the file is no signed checkpoint of this log
	OwnerSignature      Code = "owner_signature"      // the owner's signature is missing or false
	CosignatureInvalid  Code = "cosignature_invalid"  // a line in a mirror's name is false, or a second one
	CosignatureMissing  Code = "cosignature_missing"  // fewer mirrors than the quorum
	CosignatureTime     Code = "cosignature_time"     // cosigned in the future
	BundleMissing       Code = "bundle_missing"       // entries are not there
	BundleDamaged       Code = "bundle_damaged"       // entries cannot be read
	EntryChanged        Code = "entry_changed"        // an entry is not the one that was signed
	TileMissing         Code = "tile_missing"         // a hash tile is not there
	TileDamaged         Code = "tile_damaged"         // a hash tile does not follow from the entries
	RootMismatch        Code = "root_mismatch"        // the entries do not hash to the final head
	HistoryMismatch     Code = "history_mismatch"     // nor to a tree that was signed or fixed earlier
	Inclusion           Code = "inclusion"            // an entry is not proved from the hash tiles
	StateMissing        Code = "state_missing"        // a key signed this log and its state is not there
	StateDamaged        Code = "state_damaged"        // a signer state cannot be read or is not signed for
	StateBehind         Code = "state_behind"         // the owner's state is older than its final head
	FenceExceeded       Code = "fence_exceeded"       // entries are final beyond a fence
	Forked              Code = "forked"               // evidence: the owner signed two histories
	LinkInvalid         Code = "link_invalid"         // a file under chain/ does not lead from the configuration before it
	IndexDamaged        Code = "index_damaged"        // index.db cannot be read or disagrees with itself
	IndexTree           Code = "index_tree"           // the index was made of other entries
	IndexRow            Code = "index_row"            // an entry's row is missing or another
)

// What is wrong with what an owner wrote. Such an entry is void, or contradicts another log.
const (
	EpochUndeclared  Code = "epoch_undeclared"  // names no declaration of its dataset before it
	EpochOrder       Code = "epoch_order"       // its number is not above the last one
	PolicyUndeclared Code = "policy_undeclared" // as epoch_undeclared
	PolicyAgain      Code = "policy_again"      // the version was published before
	RetireUnknown    Code = "retire_unknown"    // no such policy or program version before it
	RetireAgain      Code = "retire_again"      // it was retired before
	OfferParty       Code = "offer_party"       // not of this log's owner, or to nobody in the network
	AcceptOffer      Code = "accept_offer"      // the offer it names is another entry
	AcceptTerms      Code = "accept_terms"      // not the offer's terms, or not of this log's owner
	AcceptAgain      Code = "accept_again"      // the offer was accepted before
	AcceptPolicy     Code = "accept_policy"     // names no such policy version on this log
	RejectOffer      Code = "reject_offer"      // the offer it names is another entry
	RevokeUnknown    Code = "revoke_unknown"    // no acceptance stands there
	RevokeAgain      Code = "revoke_again"      // it was revoked before
	WithdrawUnknown  Code = "withdraw_unknown"  // no offer stands there
	WithdrawAgain    Code = "withdraw_again"    // it was withdrawn before
	ProgramAgain     Code = "program_again"     // the version was published before
	DecisionAgain    Code = "decision_again"    // the same digest was logged before
	ApprovalMissing  Code = "approval_missing"  // fewer approvals than the network configuration asks for
	GroupOrder       Code = "group_order"       // the group's version is not above the last one
	BeatOrder        Code = "beat_order"        // not after the batch before it
	BeatGrid         Code = "beat_grid"         // logged before its beat was over
	BeatEpochs       Code = "beat_epochs"       // not the newest epoch of each dataset
	ScopeAgain       Code = "scope_again"       // the program's scope of that period was opened before
	ScopeKeyAgain    Code = "scope_key_again"   // its key is another scope's
	ScopeUnknown     Code = "scope_unknown"     // closes no scope that was opened before it
	ScopeCloseAgain  Code = "scope_close_again" // it was closed before
	ClaimsNoScope    Code = "claims_no_scope"   // claims while no scope is open
	ClaimsOrder      Code = "claims_order"      // of an earlier beat than the batch before it
	ClaimTwice       Code = "claim_twice"       // a nullifier that stands earlier on the log, too
)

// Remarks: worth knowing, nothing is wrong.
const (
	EntryMalformed   Code = "entry_malformed"   // no well-formed entry; kept and void
	KindUnknown      Code = "kind_unknown"      // a kind or version that this software does not know; kept and void
	EntryTime        Code = "entry_time"        // dated after it was cosigned
	OfferElsewhere   Code = "offer_elsewhere"   // the offer it names is on a log of which this folder has less
	FencePending     Code = "fence_pending"     // a log that ended is not whole here yet
	NoHead           Code = "no_head"           // nothing of this log is final here yet
	LogUnknown       Code = "log_unknown"       // the folder holds a log that no configuration names
	EvidenceUnproven Code = "evidence_unproven" // a file under evidence/ proves nothing
)

// remarks are the codes that leave a report clean.
var remarks = map[Code]bool{EntryMalformed: true, KindUnknown: true, EntryTime: true, OfferElsewhere: true, NoHead: true, FencePending: true,
	LogUnknown: true, EvidenceUnproven: true}

// Remark tells whether a code is only worth knowing.
func (c Code) Remark() bool { return remarks[c] }
