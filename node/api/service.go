package api

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// Gateway is what the REST interface needs of a gateway. Errors that a caller can mend are *Problem; any other error is
// logged and answered as an internal one without its text.
type Gateway interface {
	// Ask asks one question and waits for the verdict until ctx ends.
	Ask(ctx context.Context, q Question) (*Answer, error)
	// Resend sends a question again that got no reply, or returns what came of it.
	Resend(ctx context.Context, id string) (*Answer, error)
	// Bundle returns the evidence of an answer, with the opening (subject id and nonce) only if it is asked for.
	Bundle(ctx context.Context, id string, opening bool) ([]byte, error)
	// Answers lists the newest questions asked by this gateway.
	Answers(limit int) []AnswerSummary

	Datasets() []Dataset
	DeclareDataset(ctx context.Context, document []byte) (Published, error)
	// Import reads a CSV into a new epoch.
	Import(ctx context.Context, dataset string, csv io.Reader) (*ImportResult, error)

	Policies() []Policy
	PublishPolicy(ctx context.Context, document []byte) (Published, error)

	Rights
	Agreements() Agreements
	Offer(ctx context.Context, o Offer) (Reference, error)
	Accept(ctx context.Context, offer Reference) (Published, error)
	Reject(ctx context.Context, offer Reference, reason string) (Published, error)
	Revoke(ctx context.Context, accept uint64, reason string) (Published, error)

	// Receipts lists what was asked and answered; ExportReceipts writes it to a signed file with inclusion proofs.
	Receipts(q ReceiptQuery) ([]ReceiptSummary, error)
	ExportReceipts(e ReceiptExport) ([]byte, error)
	// IssueToken makes a one-time token for the queries about one person, SubjectLog redeems it.
	IssueToken(r TokenRequest) (Token, error)
	SubjectLog(r LogRequest) ([]byte, error)

	Programs
	Scopes
	KeyCeremonies

	Entries(q EntryQuery) (*EntryPage, error)
	Entry(origin string, index uint64) (*Entry, error)
	Heads() []Head
	// End tells where a fence would end a log without losing what any mirror cosigned.
	End(origin string) (*End, error)
	// Proof returns a C2SP tlog-proof of one entry under the newest final checkpoint of its log.
	Proof(origin string, index uint64) ([]byte, error)

	// Evidence lists what shows that members signed two histories.
	Evidence() []Evidence

	Network() Network
	// Succession tells how far the next network configuration is; Propose and Vote take part in it.
	Succession() (*Succession, error)
	Propose(document []byte) (*Succession, error)
	Vote(digest string) (*Succession, error)
	// Chain returns the network configurations that led to the one in force.
	Chain() []byte
	Status() Status
	// Ready returns nil, or why this gateway cannot answer now.
	Ready() []string
}

// Question is one eligibility question about one subject.
type Question struct {
	Holder     string     `json:"holder" example:"GOV/health" maxLength:"64" doc:"Member whose records answer the question"`
	Policy     string     `json:"policy" example:"age-75" maxLength:"64" doc:"Name of a policy that the holder published"`
	Version    int        `json:"version,omitempty" minimum:"0" maximum:"1000000" doc:"Version of the policy; 0 or absent: the newest that an agreement in force covers"`
	Subject    string     `json:"subject" minLength:"1" maxLength:"256" doc:"Subject id, in the identifier scheme of the policy's dataset. Never logged."`
	Purpose    string     `json:"purpose" minLength:"1" maxLength:"1024" doc:"Purpose, as in the agreement"`
	LegalBasis string     `json:"legal_basis" minLength:"1" maxLength:"1024" doc:"Legal basis, as in the agreement"`
	Case       string     `json:"case,omitempty" maxLength:"1024" doc:"Case reference of the requester"`
	Disclose   []string   `json:"disclose,omitempty" maxItems:"16" doc:"Columns to disclose; the agreement must allow them"`
	MaxAge     int        `json:"max_age_seconds,omitempty" minimum:"0" maximum:"3153600000" doc:"Oldest committed state of the dataset to accept, in seconds before the answer or the end of as_of; 0 or absent: any"`
	Scope      *ScopeName `json:"scope,omitempty" doc:"Where a satisfied answer is a claim, which a person can make once; the holder is its register"`
	AsOf       string     `json:"as_of,omitempty" maxLength:"10" pattern:"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$" patternDescription:"a date like 2026-03-01" doc:"Day to answer for, UTC; absent: the holder's current one. The agreement must allow it"`
	Epoch      uint64     `json:"epoch,omitempty" maximum:"9007199254740991" doc:"Number of the committed state to answer from, instead of a day"`
	Wait       int        `json:"wait,omitempty" minimum:"0" maximum:"600" doc:"Seconds to wait for the answer, at most the gateway's limit; 0 or absent: that limit"`
}

// Answer is the outcome of a question.
type Answer struct {
	ID         string  `json:"query_id" doc:"Public; GET /v1/answers/{id} returns the evidence"`
	Verdict    string  `json:"verdict" enum:"satisfied,not_satisfied,indeterminate,no_record" doc:"The verdict"`
	Holder     string  `json:"holder"`
	Policy     string  `json:"policy"`
	Version    int     `json:"version"`
	Question   string  `json:"question" doc:"The policy's question in words"`
	Disclosed  []Value `json:"disclosed,omitempty" doc:"Disclosed columns"`
	AsOf       string  `json:"as_of" doc:"Date that the question was answered for"`
	AnsweredAt string  `json:"answered_at" doc:"Time of the quorum that the answer rests on, UTC"`
	Epoch      uint64  `json:"epoch" doc:"Number of the committed state of the dataset"`
	EpochTime  string  `json:"epoch_time" doc:"Time of the committed state of the dataset, UTC"`
	Verified   bool    `json:"verified" doc:"This gateway verified the evidence before it answered"`
	Currency   string  `json:"currency" doc:"How far it is shown that the holder's entries were the newest"`
	Claim      string  `json:"claim,omitempty" enum:"pending,first,later" doc:"Of a satisfied answer in a scope; GET /v1/claims/{id} tells when it is first. Nothing is granted before that"`
	Receipt    string  `json:"receipt" doc:"promised, or logged once the holder's beat is on the ledger"`
	Timings    Timings `json:"timings"`
}

// Value is a disclosed column.
type Value struct {
	Column string `json:"column"`
	Text   string `json:"text"`
}

// Timings of one question in milliseconds.
type Timings struct {
	TotalMillis  float64 `json:"total_ms" doc:"From the request to the verified verdict"`
	AnswerMillis float64 `json:"answer_ms,omitempty" doc:"Of it, the exchange with the holder, proving included"`
	VerifyMillis float64 `json:"verify_ms,omitempty" doc:"Of it, verifying the evidence"`
}

// AnswerSummary is a question in a list. It does not say whom it was about.
type AnswerSummary struct {
	ID      string `json:"query_id"`
	Time    string `json:"time"`
	Holder  string `json:"holder"`
	Policy  string `json:"policy"`
	Version int    `json:"version"`
	Purpose string `json:"purpose"`
	Outcome string `json:"outcome" doc:"A verdict, asked, or refused with its code"`
	Receipt string `json:"receipt,omitempty"`
	Claim   string `json:"claim,omitempty" doc:"pending, first or later; a question that makes no claim has none"`
}

// Published is an entry that is final on this member's log.
type Published struct {
	Index uint64 `json:"index" doc:"Index of the entry on this member's log"`
}

// Dataset is a declared dataset of this gateway.
type Dataset struct {
	Name      string   `json:"name"`
	Title     string   `json:"title"`
	Scheme    string   `json:"scheme" doc:"Identifier scheme of its subjects"`
	Index     uint64   `json:"index" doc:"Index of its declaration"`
	Columns   []Column `json:"columns"`
	Epoch     uint64   `json:"epoch,omitempty" doc:"Number of its current epoch, absent before the first import"`
	EpochTime string   `json:"epoch_time,omitempty"`
	Root      string   `json:"root,omitempty" doc:"Commitment of the current epoch"`
}

// Column is a column of a dataset.
type Column struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Title string `json:"title,omitempty"`
	Unit  string `json:"unit,omitempty"`
}

// ImportResult says what an import committed, or what is wrong with it. Rows and columns are named, values are not.
type ImportResult struct {
	Dataset string        `json:"dataset"`
	Epoch   uint64        `json:"epoch"`
	Index   uint64        `json:"index" doc:"Index of the epoch on this member's log"`
	Root    string        `json:"root"`
	Report  *ImportReport `json:"report"`
}

// ImportReport says what an import found. Counts are for the holder alone.
type ImportReport struct {
	Rows         int          `json:"rows" doc:"Rows after the header"`
	Accepted     int          `json:"accepted" doc:"Rows that became records"`
	Filtered     int          `json:"filtered" doc:"Rows that the dataset's filter left out"`
	Added        int          `json:"added" doc:"Subjects that the epoch before did not have"`
	Changed      int          `json:"changed"`
	Unchanged    int          `json:"unchanged"`
	Removed      int          `json:"removed"`
	ProblemCount int          `json:"problem_count"`
	Problems     []RowProblem `json:"problems,omitempty" doc:"The first of them, in the order of the file"`
	Ignored      []string     `json:"ignored,omitempty" doc:"Columns of the file that nothing reads"`
}

// RowProblem is one thing that is wrong with a file. It does not hold what the file says there.
type RowProblem struct {
	Line   int    `json:"line" doc:"From 1"`
	Column string `json:"column,omitempty" doc:"Of the schema, or identifier; absent for the row as a whole"`
	Reason string `json:"reason"`
}

// Policy is a published policy of any member.
type Policy struct {
	Holder   string `json:"holder"`
	Policy   string `json:"policy"`
	Version  int    `json:"version"`
	Dataset  string `json:"dataset"`
	Title    string `json:"title"`
	Question string `json:"question"`
	Index    uint64 `json:"index" doc:"Index on the holder's log"`
	Retired  bool   `json:"retired"`
	Time     string `json:"time"`
}

// Offer asks a holder for a right.
type Offer struct {
	Holder     string   `json:"holder" example:"GOV/health" maxLength:"64"`
	Policy     string   `json:"policy" example:"age-75" maxLength:"64"`
	Version    int      `json:"version" minimum:"1" maximum:"1000000"`
	Purpose    string   `json:"purpose" minLength:"1" maxLength:"1024"`
	LegalBasis string   `json:"legal_basis" minLength:"1" maxLength:"1024"`
	OnBehalfOf string   `json:"on_behalf_of,omitempty" maxLength:"256"`
	Disclose   []string `json:"disclose,omitempty" maxItems:"16" doc:"Columns that answers may disclose"`
	Scope      string   `json:"scope,omitempty" maxLength:"64" doc:"Program under which answers may be claims"`
	Group      string   `json:"group,omitempty" maxLength:"64" doc:"Group of the holder whose members may ask, instead of this member alone"`
	AsOfFrom   string   `json:"as_of_from,omitempty" maxLength:"10" pattern:"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$" patternDescription:"a date like 2026-03-01" doc:"First day that may be asked about; absent: only the current one"`
	AsOfTo     string   `json:"as_of_to,omitempty" maxLength:"10" pattern:"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$" patternDescription:"a date like 2026-03-01" doc:"Last such day; absent, beside as_of_from: no end"`
	PerSubject int      `json:"per_subject" minimum:"1" maximum:"1000000" doc:"Answers about one subject; the ledger holds only a salted commitment"`
	Total      int      `json:"total" minimum:"1" maximum:"1000000000" doc:"Answers in all, not fewer than per_subject"`
	Expires    string   `json:"expires" example:"2030-01-01T00:00:00Z" maxLength:"32" doc:"UTC, whole seconds"`
}

// Reference names one entry of one log.
type Reference struct {
	Origin string `json:"origin" maxLength:"128" doc:"Origin of the log"`
	Index  uint64 `json:"index" doc:"Index of the entry"`
	Hash   string `json:"hash,omitempty" maxLength:"64" doc:"SHA-256 of the entry; absent: of what this gateway's replica holds there"`
}

// Agreements are the rights that concern this member.
type Agreements struct {
	Offers []OfferState     `json:"offers" doc:"Offers by this member, and offers to it"`
	Rights []AgreementState `json:"rights" doc:"Acceptances by this member, and acceptances of its offers"`
}

// OfferState is an offer and what became of it.
type OfferState struct {
	Reference
	Terms Terms  `json:"terms"`
	Time  string `json:"time"`
	State string `json:"state" enum:"open,accepted,rejected,withdrawn"`
}

// AgreementState is an acceptance and whether it is in force.
type AgreementState struct {
	Holder string    `json:"holder"`
	Index  uint64    `json:"index" doc:"Index of the acceptance on the holder's log"`
	Offer  Reference `json:"offer"`
	Terms  Terms     `json:"terms"`
	Time   string    `json:"time"`
	State  string    `json:"state" enum:"in_force,expired,revoked"`
}

// Terms are the public terms of a right.
type Terms struct {
	Requester  string   `json:"requester"`
	Group      string   `json:"group,omitempty" doc:"Group of the holder whose members may ask, instead of the requester alone"`
	Holder     string   `json:"holder"`
	Policy     string   `json:"policy"`
	Version    int      `json:"version"`
	Purpose    string   `json:"purpose"`
	LegalBasis string   `json:"legal_basis"`
	OnBehalfOf string   `json:"on_behalf_of,omitempty"`
	Disclose   []string `json:"disclose,omitempty"`
	Scope      string   `json:"scope,omitempty" doc:"Program under which answers may be claims"`
	AsOfFrom   string   `json:"as_of_from,omitempty" doc:"First day that may be asked about; absent: only the current one"`
	AsOfTo     string   `json:"as_of_to,omitempty" doc:"Last such day; absent, beside as_of_from: no end"`
	Expires    string   `json:"expires"`
}

// EntryQuery searches final entries of all logs. Empty fields match everything.
type EntryQuery struct {
	Kind, Member, Dataset, Policy string
	From, To                      time.Time
	After                         string // cursor of the page before
	Limit                         int
	Content                       bool
}

// EntryPage is one page of a search.
type EntryPage struct {
	Entries []Entry `json:"entries"`
	Next    string  `json:"next,omitempty" doc:"Cursor for the after parameter of the next page; absent on the last"`
}

// Entry is one ledger entry.
type Entry struct {
	Origin  string          `json:"origin"`
	Member  string          `json:"member"`
	Index   uint64          `json:"index"`
	Kind    string          `json:"kind"`
	Dataset string          `json:"dataset,omitempty"`
	Policy  string          `json:"policy,omitempty"`
	Time    string          `json:"time,omitempty"`
	Hash    string          `json:"hash,omitempty"`
	Content json.RawMessage `json:"content,omitempty" doc:"The entry itself"`
}

// Head is the newest final checkpoint of a log.
type Head struct {
	Origin     string   `json:"origin"`
	Member     string   `json:"member"`
	Size       uint64   `json:"size"`
	Root       string   `json:"root" doc:"Root hash, base64 as in the checkpoint"`
	Time       string   `json:"time,omitempty" doc:"Median time of its cosignatures, UTC"`
	AgeSeconds int64    `json:"age_seconds,omitempty"`
	Checkpoint string   `json:"checkpoint" doc:"C2SP checkpoint with exactly a quorum of cosignatures"`
	Witnesses  []string `json:"witnesses,omitempty" doc:"Witnesses outside the network that cosigned it, too; they count to no quorum"`
}

// End is the largest checkpoint of a log, signed by its owner, that this member holds or was told that somebody holds.
type End struct {
	Origin string `json:"origin"`
	Size   int64  `json:"size"`
	Root   string `json:"root" doc:"Root hash, base64 as in the checkpoint"`
	Here   bool   `json:"here" doc:"All its entries are at this member"`
}

// Network is the pinned network configuration as this gateway sees it.
type Network struct {
	Instance string          `json:"instance"`
	Version  int             `json:"version"`
	Mode     string          `json:"mode"`
	Digest   string          `json:"digest" doc:"SHA-256 of the configuration"`
	Quorum   int             `json:"quorum"`
	Mirrors  int             `json:"mirrors"`
	Expires  string          `json:"expires"`
	Members  []NetworkMember `json:"members"`
	Document json.RawMessage `json:"document" doc:"The configuration itself"`
}

// NetworkMember is one member.
type NetworkMember struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Endpoint string `json:"endpoint"`
	Mirror   bool   `json:"mirror"`
	Self     bool   `json:"self"`
	Up       bool   `json:"up" doc:"There is a connection to it"`
	Since    string `json:"since,omitempty" doc:"Of the connection, or of its loss"`
	Reason   string `json:"reason,omitempty" doc:"Why the last attempt to reach it failed"`
}

// Status says how this gateway is.
type Status struct {
	Version          string         `json:"version"`
	Instance         string         `json:"instance"`
	Member           string         `json:"member"`
	Started          string         `json:"started"`
	Ready            bool           `json:"ready"`
	NotReady         []string       `json:"not_ready,omitempty" doc:"Why it is not ready"`
	Mode             string         `json:"mode"`
	Circuit          string         `json:"circuit" doc:"Id of the one that this gateway answers under now; empty: none, and it answers nothing"`
	VerifyingKey     string         `json:"verifying_key" doc:"SHA-256"`
	KeyKind          string         `json:"key_kind" doc:"development keys prove nothing to those who do not trust who made them"`
	LogSize          uint64         `json:"log_size" doc:"Final entries on this member's log"`
	HeadAgeSeconds   int64          `json:"head_age_seconds" doc:"Since the newest quorum of cosignatures; -1: none yet"`
	ClockKnown       bool           `json:"clock_known" doc:"Enough mirrors were heard from to judge this gateway's clock"`
	ClockOffset      float64        `json:"clock_offset_seconds" doc:"The mirrors' median clock less this one's"`
	ClockSkewed      bool           `json:"clock_skewed" doc:"Over 5 s off: this mirror cosigns nothing until its clock is set"`
	Halted           []string       `json:"halted,omitempty" doc:"Logs whose owner signed two histories; see /v1/ledger/evidence"`
	PeersUp          int            `json:"peers_up"`
	Peers            int            `json:"peers"`
	ProverQueued     int            `json:"prover_queued"`
	ProverRunning    int            `json:"prover_running"`
	BeatSeconds      int            `json:"beat_seconds"`
	FreshnessSeconds int            `json:"freshness_seconds"`
	BrokenPromises   int            `json:"broken_promises" doc:"Receipt promises of this gateway that were not kept in time"`
	BrokenToUs       int            `json:"broken_promises_to_us" doc:"Receipt promises of holders to this gateway that were not kept in time; GET /v1/receipts?broken=true lists both"`
	Circuits         []CircuitState `json:"circuits,omitempty" doc:"Those that the network names; none: it cannot answer before a later version names one"`
	Witnesses        []Witness      `json:"witnesses,omitempty" doc:"Witnesses outside the network that cosign this member's log; they count to no quorum"`
}

// CircuitState is a circuit that the network names, and what this gateway can do with it.
type CircuitState struct {
	ID           string `json:"id"`
	VerifyingKey string `json:"verifying_key" doc:"SHA-256"`
	Kind         string `json:"kind" doc:"development, demo or ceremony"`
	Transcript   string `json:"transcript,omitempty" doc:"SHA-256 of the ceremony's transcript"`
	Contributors int    `json:"contributors,omitempty" doc:"Fewest members that contributed in each phase"`
	Since        string `json:"since,omitempty" doc:"UTC; empty: always"`
	Until        string `json:"until,omitempty" doc:"UTC, exclusive; empty: open end"`
	InForce      bool   `json:"in_force"`
	Answers      bool   `json:"answers" doc:"This gateway has its proving key"`
	Verifies     bool   `json:"verifies" doc:"This gateway has its verifying key, and relies on it"`
	Problem      string `json:"problem,omitempty" doc:"Why not, and what to do"`
}

// Witness is a witness outside the network.
type Witness struct {
	Name  string `json:"name" doc:"Of its key"`
	URL   string `json:"url"`
	Size  uint64 `json:"size" doc:"Of the tree that it cosigned last; 0: none"`
	Time  string `json:"time,omitempty" doc:"Of that cosignature, UTC, by its clock"`
	Fault string `json:"fault,omitempty" doc:"Why the last attempt failed"`
}
