package audit

import (
	"fmt"
	"time"
)

// A Problem is one thing that an audit found.
type Problem struct {
	Code   Code   `json:"code"`
	Origin string `json:"origin,omitempty"` // of the log; empty if it is of the whole folder
	Index  int64  `json:"index"`            // of the entry; -1 if it is of none
	Text   string `json:"text"`             // for people
	Remark bool   `json:"remark"`           // only worth knowing
}

func (p Problem) String() string {
	if p.Index >= 0 {
		return fmt.Sprintf("%s: entry %d: %s", p.Code, p.Index, p.Text)
	}
	return fmt.Sprintf("%s: %s", p.Code, p.Text)
}

// A Cosigned is one mirror's valid cosignature of a final head.
type Cosigned struct {
	Mirror string    `json:"mirror"`
	Time   time.Time `json:"time"`
}

// A Log is what an audit found of one log.
type Log struct {
	Origin  string           `json:"origin"`
	Owner   string           `json:"owner"`
	Fenced  bool             `json:"fenced,omitempty"` // it ended; its final head is the fence
	Size    int64            `json:"size"`             // entries under the final head
	Root    string           `json:"root,omitempty"`   // of the final head, base64
	Version int              `json:"version"`          // of the configuration that the head is signed under; 0: under none
	Heads   []Cosigned       `json:"cosigned"`
	Entries int64            `json:"entries"` // read: those under the final head, and beyond it what a signer state vouches for
	Bytes   int64            `json:"bytes"`   // of entries
	Kinds   map[string]int64 `json:"kinds"`   // entries by kind, "" for malformed ones
	Void    int64            `json:"void"`    // of them without effect
	Beats   int64            `json:"beats"`   // receipts batches that count
	Missed  int64            `json:"missed"`  // beats between the first and the last without a batch: the gateway was down
	Late    int64            `json:"late"`    // batches logged after the deadline of their promises
	First   string           `json:"first"`   // the time that the owner gave the first entry
	Last    string           `json:"last"`    // and the last
	Proved  int              `json:"proved"`  // entries proved one by one
	Indexed int64            `json:"indexed"` // entries in index.db

	Problems []Problem `json:"problems"`
	More     int64     `json:"more,omitempty"` // problems and remarks that are not listed
	unclean  bool

	verified bool // the final head is signed as it should be and the entries hash to it
}

// Clean tells whether nothing is wrong with the log. Remarks leave it clean.
func (l *Log) Clean() bool { return !l.unclean }

// A Report is what an audit of a folder found.
type Report struct {
	Instance string    `json:"instance"`
	Version  int       `json:"version"` // newest configuration known
	Digest   string    `json:"digest"`
	Member   string    `json:"member,omitempty"` // whose folder it is, as its signer state says
	Began    time.Time `json:"began"`
	Took     float64   `json:"seconds"`
	Logs     []*Log    `json:"logs"`
	Problems []Problem `json:"problems"` // of the whole folder
	unclean  bool
}

// Clean tells whether nothing is wrong. Remarks leave a report clean.
func (r *Report) Clean() bool {
	for _, l := range r.Logs {
		if !l.Clean() {
			return false
		}
	}
	return !r.unclean
}

// All returns the problems of the folder and of all logs.
func (r *Report) All() []Problem {
	out := append([]Problem(nil), r.Problems...)
	for _, l := range r.Logs {
		out = append(out, l.Problems...)
	}
	return out
}

// found adds a problem of the log. index is -1 if it is of no entry.
func (l *Log) found(c Code, index int64, format string, a ...any) {
	l.unclean = l.unclean || !c.Remark()
	if len(l.Problems) >= maxProblems {
		l.More++
		return
	}
	l.Problems = append(l.Problems, Problem{c, l.Origin, index, fmt.Sprintf(format, a...), c.Remark()})
}

// found adds a problem of the folder.
func (r *Report) found(c Code, origin, format string, a ...any) {
	r.unclean = r.unclean || !c.Remark()
	r.Problems = append(r.Problems, Problem{c, origin, -1, fmt.Sprintf(format, a...), c.Remark()})
}
