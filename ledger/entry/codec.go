package entry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrEntry says that bytes are not a well-formed entry, or that a value would not make one. On somebody's log such an
// entry is kept and void; one of our own must not be written.
var ErrEntry = errors.New("malformed entry")

// version is the format version of every kind in this package.
const version = 1

// Encode returns the bytes of an entry, which start {"kind":"...","v":1, and then hold the fields in the order of their
// struct. It refuses what Decode would refuse.
func Encode(e Entry) ([]byte, error) {
	e = valueOf(e)
	if e == nil {
		return nil, fmt.Errorf("%w: nil", ErrEntry)
	}
	if u, ok := e.(Unknown); ok {
		if len(u.Raw) == 0 || len(u.Raw) > MaxSize {
			return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrEntry, len(u.Raw), MaxSize)
		}
		return bytes.Clone(u.Raw), nil
	}
	if err := check(e); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("%w: encoding %s: %w", ErrEntry, e.Kind(), err)
	}
	body := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	raw := fmt.Appendf(nil, `{"kind":%q,"v":%d,`, e.Kind(), version)
	raw = append(raw, body[1:]...)
	if _, err := Decode(raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// Decode reads an entry. The result is a value of one of this package's kinds, or Unknown for another kind or version.
// For malformed bytes it returns an error that wraps ErrEntry together with an Unknown that holds them.
func Decode(raw []byte) (Entry, error) {
	unknown := func(kind string, v int) Unknown { return Unknown{Name: kind, V: v, Raw: bytes.Clone(raw)} }
	if len(raw) > MaxSize {
		return unknown("", 0), fmt.Errorf("%w: %d bytes, the limit is %d", ErrEntry, len(raw), MaxSize)
	}
	kind, v, rest, ok := header(raw)
	if !ok {
		return unknown("", 0), fmt.Errorf("%w: does not start with its kind and version", ErrEntry)
	}
	decode, known := decoders[kind]
	if !known || v != version {
		var whole json.RawMessage
		if err := DecodeStrict(raw, MaxSize, &whole); err != nil {
			return unknown(kind, v), fmt.Errorf("%w: %w", ErrEntry, err)
		}
		return unknown(kind, v), nil
	}
	body := make([]byte, 0, len(rest)+1)
	body = append(append(body, '{'), rest...)
	e, err := decode(body)
	if err != nil {
		return unknown(kind, v), fmt.Errorf("%w: %s: %w", ErrEntry, kind, err)
	}
	if err := check(e); err != nil {
		return unknown(kind, v), err
	}
	return e, nil
}

// DecodeAll decodes entries on all processors; a malformed one becomes Unknown.
func DecodeAll(raws [][]byte) []Entry {
	out := make([]Entry, len(raws))
	n := min(runtime.GOMAXPROCS(0), 1+len(raws)/64)
	var wg sync.WaitGroup
	for k := range n {
		wg.Go(func() {
			for i := k * len(raws) / n; i < (k+1)*len(raws)/n; i++ {
				out[i], _ = Decode(raws[i])
			}
		})
	}
	wg.Wait()
	return out
}

// header splits {"kind":"K","v":N,REST or {"kind":"K","v":N} with REST = "}". That kind and version come first, without
// spaces, is part of the format: a reader can sort entries without parsing them.
func header(raw []byte) (kind string, v int, rest []byte, ok bool) {
	raw, ok = bytes.CutPrefix(raw, []byte(`{"kind":"`))
	if !ok {
		return "", 0, nil, false
	}
	k, raw, ok := bytes.Cut(raw, []byte(`","v":`))
	if !ok || !validKind(k) {
		return "", 0, nil, false
	}
	n := 0
	for n < len(raw) && raw[n] >= '0' && raw[n] <= '9' {
		n++
	}
	if n == 0 || n > 6 || raw[0] == '0' || n == len(raw) {
		return "", 0, nil, false
	}
	v, _ = strconv.Atoi(string(raw[:n])) // one to six digits
	switch raw[n] {
	case ',':
		return string(k), v, raw[n+1:], true
	case '}':
		return string(k), v, raw[n:], true
	}
	return "", 0, nil, false
}

func validKind(k []byte) bool {
	for _, c := range k {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return len(k) > 0 && len(k) <= MaxName
}

var decoders = map[string]func([]byte) (Entry, error){
	KindDatasetDeclare:    into[DatasetDeclare],
	KindDatasetEpoch:      into[DatasetEpoch],
	KindPolicyPublish:     into[PolicyPublish],
	KindPolicyRetire:      into[PolicyRetire],
	KindAgreementOffer:    into[AgreementOffer],
	KindAgreementAccept:   into[AgreementAccept],
	KindAgreementReject:   into[AgreementReject],
	KindAgreementRevoke:   into[AgreementRevoke],
	KindAgreementWithdraw: into[AgreementWithdraw],
	KindGroupDefine:       into[GroupDefine],
	KindReceiptsBatch:     into[ReceiptsBatch],
	KindCircuitKeys:       into[CircuitKeys],
	KindScopeOpen:         into[ScopeOpen],
	KindScopeClose:        into[ScopeClose],
	KindClaimsBatch:       intoClaims,
	KindProgramPublish:    into[ProgramPublish],
	KindProgramRetire:     into[ProgramRetire],
	KindCaseDecision:      into[CaseDecision],
}

func into[T Entry](body []byte) (Entry, error) {
	var v T
	if err := DecodeStrict(body, MaxSize, &v); err != nil {
		return nil, err
	}
	return v, nil
}

// valueOf turns a pointer to an entry into the entry, and a nil pointer into nil.
func valueOf(e Entry) Entry {
	v := reflect.ValueOf(e)
	for v.IsValid() && v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil
	}
	out, _ := v.Interface().(Entry)
	return out
}

// Hash is the entry's leaf hash in its log (RFC 6962: SHA-256 of a zero byte and the entry's bytes) as 64 hexadecimal
// digits; a Ref carries it.
func Hash(raw []byte) string {
	h := tlog.RecordHash(raw)
	return hex.EncodeToString(h[:])
}

// timeLayout is how times are written: UTC, whole seconds.
const timeLayout = "2006-01-02T15:04:05Z"

// FormatTime writes a time as entries carry it: UTC, whole seconds, RFC 3339 with a Z.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// ParseTime reads a time exactly as FormatTime writes it.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(timeLayout, s)
	if err != nil || t.Format(timeLayout) != s {
		return time.Time{}, fmt.Errorf("%w: time is not like %s", ErrEntry, timeLayout)
	}
	return t, nil
}
