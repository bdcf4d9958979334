package ceremony

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// maxWait is how long a question may wait for something to change, in seconds: half of what the transport gives the kind.
const maxWait = 15

// question is a request of kind ceremony.
type question struct {
	Version  int           `json:"v"`                  // 1
	Ceremony string        `json:"ceremony,omitempty"` // which; "": all that the asked member coordinates
	There    bool          `json:"there,omitempty"`    // the asking member waits for its turn
	Seen     uint64        `json:"seen,omitempty"`     // mark of the last answer: answer when it is another, or after Wait seconds
	Wait     int           `json:"wait,omitempty"`     // 0 to maxWait
	Step     *rules.Signed `json:"step,omitempty"`     // a contribution whose payload was offered: hands it in
}

// answer is the reply.
type answer struct {
	Version    int        `json:"v"` // 1
	Ceremonies []position `json:"ceremonies"`
}

// position is what a coordinator tells of a ceremony beyond its transcript.
type position struct {
	Ceremony   string   `json:"ceremony"`
	Mark       uint64   `json:"mark"`              // changes with everything below
	Transcript string   `json:"transcript"`        // SHA-256 of the transcript as it is
	Size       int64    `json:"size"`              // of the transcript, in bytes
	State      string   `json:"state"`             // one of the states
	Turn       string   `json:"turn,omitempty"`    // whose turn it is
	Until      string   `json:"until,omitempty"`   // when it ends, or the announced time of the beacon; UTC
	Waiting    []string `json:"waiting,omitempty"` // members that said they are there
	Fault      string   `json:"fault,omitempty"`   // why nothing goes on
	Keys       [2]int64 `json:"keys"`              // sizes of the verifying and the proving key, once they can be fetched
	Yours      *handed  `json:"yours,omitempty"`   // what became of what the asking member handed in last
}

// The states of a ceremony at its coordinator.
const (
	stateTurn     = "turn"     // Turn contributes until Until
	stateChecking = "checking" // a contribution is being verified
	stateOpen     = "open"     // too few contributed: whoever was passed over may still come
	stateBeacon   = "beacon"   // closed; waits for heads from after Until
	stateSealing  = "sealing"  // the keys are being made
	stateDone     = "done"
)

// handed is what became of a contribution. Reason is of prover/ceremony.
type handed struct {
	Payload string       `json:"payload"` // SHA-256
	State   string       `json:"state"`   // checking, accepted or refused
	Reason  rules.Reason `json:"reason,omitempty"`
}

const (
	handedChecking = "checking"
	handedAccepted = "accepted"
	handedRefused  = "refused"
)

func decodeQuestion(data []byte) (question, error) {
	var q question
	if err := decode(data, maxRequest, &q); err != nil {
		return question{}, err
	}
	if q.Version != 1 || q.Wait < 0 || q.Wait > maxWait || q.Ceremony == "" && (q.There || q.Step != nil || q.Wait > 0) {
		return question{}, fmt.Errorf("%w: a question with fields that do not fit", ErrMessage)
	}
	if q.Ceremony != "" {
		if _, err := parseDigest(q.Ceremony); err != nil {
			return question{}, err
		}
	}
	return q, nil
}

// maxTold bounds each text that a coordinator tells, in bytes.
const maxTold = 512

// decodeAnswer reads what a coordinator tells. Names and times are the coordinator's to say, in bounds and without control characters;
// digests and sizes are checked, since files are fetched by them.
func decodeAnswer(data []byte) (answer, error) {
	var a answer
	if err := decode(data, maxStatus, &a); err != nil {
		return answer{}, err
	}
	if a.Version != 1 {
		return answer{}, fmt.Errorf("%w: version %d", ErrMessage, a.Version)
	}
	for _, p := range a.Ceremonies {
		_, nameErr := parseDigest(p.Ceremony)
		_, fileErr := parseDigest(p.Transcript)
		if err := errors.Join(nameErr, fileErr); err != nil {
			return answer{}, err
		}
		for _, text := range append([]string{p.State, p.Turn, p.Until, p.Fault}, p.Waiting...) {
			if len(text) > maxTold || strings.ContainsFunc(text, unicode.IsControl) { // people see it on their terminals
				return answer{}, fmt.Errorf("%w: a text of %d bytes, or with control characters", ErrMessage, len(text))
			}
		}
		if p.Size <= 0 || p.Size > rules.MaxTranscript || min(p.Keys[0], p.Keys[1]) < 0 || max(p.Keys[0], p.Keys[1]) > maxFile {
			return answer{}, fmt.Errorf("%w: a transcript of %d bytes, keys of %v", ErrMessage, p.Size, p.Keys)
		}
	}
	return a, nil
}

func mustEncode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("ceremony: encoding plain strings and integers: " + err.Error())
	}
	return data
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// A refusal is told to the member that asked, with its code. The text names nothing of what it sent.
type refusal struct {
	code string
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Code() string  { return r.code }
func (r *refusal) Unwrap() error { return r.err }

// Codes that a coordinator refuses with, beside the reasons of prover/ceremony.
const (
	codeMalformed = "malformed"  // the message cannot be read
	codeUnknown   = "unknown"    // this member coordinates no such ceremony
	codeNotHeld   = "not_held"   // no such file here, or the part begins beyond its end
	codeNotMember = "not_member" // the asking member does not take part
	codeNotTurn   = "not_turn"   // it is not the asking member's turn
)
