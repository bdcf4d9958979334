package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/node/auth"
	"github.com/grille-gateway/grille/node/config"
)

// secret is what must never come back: as a subject id, and as anything else that a caller sends by mistake.
const secret = "S-770415-9913"

// fake is a gateway that answers from fields.
type fake struct {
	ask    func(context.Context, Question) (*Answer, error)
	imp    func(string, io.Reader) (*ImportResult, error)
	ready  []string
	opened bool
}

func (f *fake) Ask(ctx context.Context, q Question) (*Answer, error) { return f.ask(ctx, q) }
func (f *fake) Bundle(_ context.Context, id string, opening bool) ([]byte, error) {
	f.opened = opening
	if id != "q1" {
		return nil, NewProblem(404, CodeNotFound, "no such answer here")
	}
	return []byte(`{"bundle":1}`), nil
}
func (f *fake) Resend(ctx context.Context, id string) (*Answer, error) {
	p := NewProblem(504, "no_reply", "still none")
	p.Query = id
	return nil, p
}
func (f *fake) Answers(int) []AnswerSummary { return nil }
func (f *fake) Datasets() []Dataset         { return nil }
func (f *fake) DeclareDataset(_ context.Context, doc []byte) (Published, error) {
	if len(doc) == 0 {
		return Published{}, errors.New("empty")
	}
	return Published{7}, nil
}
func (f *fake) Import(_ context.Context, name string, csv io.Reader) (*ImportResult, error) {
	return f.imp(name, csv)
}
func (f *fake) Scopes() []Scope                                            { return nil }
func (f *fake) OpenScope(context.Context, ScopeOpening) (Published, error) { return Published{11}, nil }
func (f *fake) CloseScope(context.Context, ScopeClosing) (Published, error) {
	return Published{12}, nil
}
func (f *fake) Claim(string) (*Claim, error)              { return &Claim{State: "pending"}, nil }
func (f *fake) DraftPolicy([]byte) (Draft, error)         { return Draft{Origin: "o", Entry: "{}"}, nil }
func (f *fake) DraftAccept(Reference) (Draft, error)      { return Draft{}, nil }
func (f *fake) DraftGroup(GroupDefinition) (Draft, error) { return Draft{}, nil }
func (f *fake) Groups() []Group                           { return nil }
func (f *fake) PublishDraft(_ context.Context, d Draft) (Published, error) {
	return Published{}, NewProblem(409, CodeApprovals, "one approval is missing")
}
func (f *fake) DefineGroup(context.Context, GroupDefinition) (Published, error) {
	return Published{4}, nil
}
func (f *fake) Policies() []Policy                                       { return nil }
func (f *fake) PublishPolicy(context.Context, []byte) (Published, error) { return Published{8}, nil }
func (f *fake) Agreements() Agreements                                   { return Agreements{} }
func (f *fake) Offer(context.Context, Offer) (Reference, error) {
	return Reference{Origin: "o", Index: 1}, nil
}
func (f *fake) Accept(ctx context.Context, _ Reference) (Published, error) {
	return Published{}, NewProblem(409, "offer", "it is withdrawn")
}
func (f *fake) Reject(context.Context, Reference, string) (Published, error) {
	return Published{2}, nil
}
func (f *fake) Revoke(context.Context, uint64, string) (Published, error) { return Published{3}, nil }
func (f *fake) Receipts(ReceiptQuery) ([]ReceiptSummary, error)           { return nil, nil }
func (f *fake) ExportReceipts(ReceiptExport) ([]byte, error)              { return []byte("{}"), nil }
func (f *fake) IssueToken(TokenRequest) (Token, error)                    { return Token{Token: "t"}, nil }
func (f *fake) SubjectLog(LogRequest) ([]byte, error)                     { return []byte("{}"), nil }
func (f *fake) Programs() []Program                                       { return nil }
func (f *fake) Program(_, name string, _ int) (*ProgramDocument, error) {
	if name != "fuel" {
		return nil, NewProblem(404, CodeNotFound, "no such program")
	}
	return &ProgramDocument{Program: Program{Program: name}}, nil
}
func (f *fake) PublishProgram(_ context.Context, doc []byte) (*PublishedProgram, error) {
	if len(doc) == 0 {
		return nil, NewProblem(422, "program", "empty")
	}
	return &PublishedProgram{Published: Published{9}}, nil
}
func (f *fake) RetireProgram(context.Context, string, int, string) (Published, error) {
	return Published{10}, nil
}
func (f *fake) Apply(_ context.Context, a Application) (*Case, error) {
	if len(a.Subjects) != 1 {
		return nil, NewProblem(422, CodeInvalid, "one subject")
	}
	return &Case{ID: oneCase, State: "decided"}, nil
}
func (f *fake) Cases(state string, _ int) []Case { return []Case{{ID: oneCase, State: state}} }
func (f *fake) Case(id string) (*Case, error)    { return &Case{ID: id}, nil }
func (f *fake) Decision(id string, round int) ([]byte, error) {
	if round > 0 || id != oneCase {
		return nil, NewProblem(404, CodeNotFound, "no such decision")
	}
	return []byte(`{"v":1}`), nil
}
func (f *fake) Contest(_ context.Context, id, reason string) (*Case, error) {
	return &Case{ID: id, State: "contested", Contest: reason}, nil
}
func (f *fake) Review(_ context.Context, id string, r Review) (*Case, error) {
	return &Case{ID: id, State: "decided", Decisions: []Decision{{Granted: r.Granted, By: "person"}}}, nil
}
func (f *fake) Entries(EntryQuery) (*EntryPage, error) { return &EntryPage{}, nil }
func (f *fake) Entry(string, uint64) (*Entry, error)   { return &Entry{}, nil }
func (f *fake) End(string) (*End, error)               { return &End{}, nil }
func (f *fake) Heads() []Head                          { return nil }
func (f *fake) Proof(string, uint64) ([]byte, error)   { return []byte("c2sp.org/tlog-proof@v1\n"), nil }
func (f *fake) Network() Network                       { return Network{Instance: "demo"} }
func (f *fake) Status() Status                         { return Status{Member: "GOV/tax"} }
func (f *fake) Ready() []string                        { return f.ready }
func (f *fake) Evidence() []Evidence                   { return nil }
func (f *fake) Succession() (*Succession, error)       { return &Succession{Version: 1}, nil }
func (f *fake) Propose(document []byte) (*Succession, error) {
	return &Succession{Version: 1, Proposal: &ProposedVersion{Document: document}}, nil
}
func (f *fake) Vote(digest string) (*Succession, error) {
	return nil, NewProblem(409, "voted", "for another")
}
func (f *fake) Chain() []byte { return []byte("{}") }

type rig struct {
	*Server
	token string
	log   *bytes.Buffer
}

func newRig(t *testing.T, f *fake, change func(*Options)) *rig {
	t.Helper()
	token := auth.NewToken()
	guard, err := auth.NewGuard(token)
	if err != nil {
		t.Fatal(err)
	}
	log := new(bytes.Buffer)
	d := config.Default()
	o := Options{Gateway: f, Guard: guard, Config: d.API, Limits: d.Limits, Version: "test",
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") }),
		Logger:  slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{s, token, log}
}

// do sends one request with the token; kind is the body's content type.
func (r *rig) do(t *testing.T, method, target, kind, body string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+r.token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	return w
}

func TestTokenGuardsEverything(t *testing.T) {
	r := newRig(t, &fake{}, nil)
	for path := range r.api.OpenAPI().Paths {
		for _, method := range []string{"GET", "POST"} {
			w := httptest.NewRecorder()
			r.Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
			if path == "/readyz" {
				continue
			}
			if w.Code != http.StatusUnauthorized {
				t.Errorf("%s %s without a token: %d", method, path, w.Code)
			}
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 401, "/openapi.json": 401, "/x": 401, "/": 401} {
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestMetricsOnLoopback(t *testing.T) {
	r := newRig(t, &fake{}, func(o *Options) { o.Config.Metrics = "loopback" })
	for from, want := range map[string]int{"127.0.0.1:9": 200, "[::1]:9": 200, "192.0.2.1:9": 401, "": 401} {
		req := httptest.NewRequest("GET", "/metrics", nil)
		req.RemoteAddr = from
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, req)
		if w.Code != want {
			t.Errorf("from %q: %d", from, w.Code)
		}
	}
}

const question = `{"holder":"GOV/health","policy":"age-75","subject":"` + secret + `","purpose":"p","legal_basis":"l"`

func TestAsk(t *testing.T) {
	var got Question
	var limit time.Duration
	r := newRig(t, &fake{ask: func(ctx context.Context, q Question) (*Answer, error) {
		got = q
		end, _ := ctx.Deadline()
		limit = time.Until(end)
		return &Answer{ID: "q1", Verdict: "satisfied"}, nil
	}}, nil)
	w := r.do(t, "POST", "/v1/queries", "application/json", question+`,"disclose":["region"],"wait":5}`)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"verdict":"satisfied"`) {
		t.Fatal(w.Code, w.Body)
	}
	if got.Subject != secret || got.Policy != "age-75" || len(got.Disclose) != 1 || limit > 5*time.Second || limit < 4*time.Second {
		t.Errorf("%+v within %v", got, limit)
	}
	if strings.Contains(r.log.String(), secret) {
		t.Error("the log holds a subject id")
	}
}

// Whatever is wrong with a request, nothing of it comes back or is logged.
func TestNothingIsEchoed(t *testing.T) {
	r := newRig(t, &fake{ask: func(context.Context, Question) (*Answer, error) {
		return nil, errors.New("no such subject " + secret)
	}}, nil)
	for _, c := range []struct{ name, method, target, kind, body string }{
		{"wrong type", "POST", "/v1/queries", "application/json", `{"holder":["` + secret + `"]}`},
		{"number", "POST", "/v1/queries", "application/json", strings.Replace(question, `"`+secret+`"`, `7704159913`, 1) + "}"},
		{"unknown property", "POST", "/v1/queries", "application/json", question + `,"` + secret + `":1}`},
		{"lower-case property", "POST", "/v1/queries", "application/json", question + `,"anna_smith":1}`},
		{"property twice", "POST", "/v1/queries", "application/json", question + `,"subject":"` + secret + `"}`},
		{"broken JSON", "POST", "/v1/queries", "application/json", `{"subject":"` + secret},
		{"too long", "POST", "/v1/queries", "application/json", strings.Replace(question, secret, strings.Repeat(secret, 30), 1) + "}"},
		{"wait", "POST", "/v1/queries", "application/json", question + `,"wait":"` + secret + `"}`},
		{"internal", "POST", "/v1/queries", "application/json", question + `}`},
		{"content type", "POST", "/v1/queries", "text/" + secret, question + `}`},
		{"token for a number", "POST", "/v1/person-log/tokens", "application/json", `{"subject":7704159913,"hours":1}`},
		{"token for too long", "POST", "/v1/person-log/tokens", "application/json", `{"subject":"` + secret + `","hours":7704159913}`},
		{"token of a list", "POST", "/v1/person-log", "application/json", `{"token":["` + secret + `"]}`},
		{"part", "GET", "/v1/receipts?role=" + secret, "", ""},
		{"receipts of a person", "GET", "/v1/receipts/export?subject=" + secret, "", ""},
		{"query parameter", "GET", "/v1/policies?subject=" + secret, "", ""},
		{"query value", "GET", "/v1/ledger/entries?limit=" + secret, "", ""},
		{"pattern", "GET", "/v1/ledger/entries?kind=" + secret, "", ""},
		{"time", "GET", "/v1/ledger/entries?from=" + secret, "", ""},
		{"path", "GET", "/v1/answers/" + secret + "%20", "", ""},
		{"unknown path", "GET", "/v1/subjects/" + secret, "", ""},
		{"unclean path", "GET", "/v1//subjects/" + secret, "", ""},
		{"dots", "GET", "/v1/x/../" + secret, "", ""},
		{"method", "DELETE", "/v1/queries?x=" + secret, "", ""},
		{"trailing slash", "GET", "/v1/answers/q1/?x=" + secret, "", ""},
	} {
		w := r.do(t, c.method, c.target, c.kind, c.body)
		if w.Code < 400 {
			t.Errorf("%s: status %d", c.name, w.Code)
		}
		if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%s: content type %q", c.name, got)
		}
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code == "" || p.Status != w.Code {
			t.Errorf("%s: %v %s", c.name, err, w.Body)
		}
		head := new(bytes.Buffer)
		_ = w.Header().Write(head)
		for _, s := range []string{secret, "7704159913", "anna_smith"} {
			if strings.Contains(w.Body.String()+head.String(), s) {
				t.Errorf("%s: echoed: %s%s", c.name, head, w.Body)
			}
			if c.name != "internal" && strings.Contains(r.log.String(), s) {
				t.Errorf("%s: logged: %s", c.name, r.log)
			}
		}
		r.log.Reset()
	}
}

func TestProblemNamesTheField(t *testing.T) {
	r := newRig(t, &fake{}, nil)
	w := r.do(t, "POST", "/v1/queries", "application/json", `{"holder":3,"policy":"p","subject":"","purpose":"p","legal_basis":"l"}`)
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 422 {
		t.Fatal(w.Code, err)
	}
	got := map[string]string{}
	for _, f := range p.Errors {
		got[f.Field] = f.Message
	}
	if got["body.holder"] != "expected string" || got["body.subject"] != "expected length >= 1" {
		t.Errorf("%+v", p.Errors)
	}
}

func TestAskTimesOut(t *testing.T) {
	r := newRig(t, &fake{ask: func(ctx context.Context, _ Question) (*Answer, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}, func(o *Options) { o.Limits.WaitSeconds = 1 })
	if w := r.do(t, "POST", "/v1/queries", "application/json", question+"}"); w.Code != http.StatusGatewayTimeout {
		t.Error(w.Code, w.Body)
	}
	if w := r.do(t, "POST", "/v1/queries", "application/json", question+`,"wait":2}`); w.Code != http.StatusUnprocessableEntity {
		t.Error(w.Code, w.Body)
	}
}

func TestResend(t *testing.T) {
	r := newRig(t, &fake{}, nil)
	if w := r.do(t, "POST", "/v1/queries/q7", "", ""); w.Code != 504 || !strings.Contains(w.Body.String(), `"query_id":"q7"`) {
		t.Error(w.Code, w.Body)
	}
}

func TestBundleIsRedactedByDefault(t *testing.T) {
	f := &fake{}
	r := newRig(t, f, nil)
	if w := r.do(t, "GET", "/v1/answers/q1", "", ""); w.Code != 200 || w.Body.String() != `{"bundle":1}` || f.opened {
		t.Error(w.Code, w.Body, f.opened)
	}
	if w := r.do(t, "GET", "/v1/answers/q1?opening=true", "", ""); w.Code != 200 || !f.opened {
		t.Error(w.Code, f.opened)
	}
	if w := r.do(t, "GET", "/v1/answers/q2", "", ""); w.Code != 404 {
		t.Error(w.Code)
	}
}

func TestImportStreamsAndIsBounded(t *testing.T) {
	var read int
	f := &fake{imp: func(name string, csv io.Reader) (*ImportResult, error) {
		n, err := io.Copy(io.Discard, csv)
		read = int(n)
		if err != nil {
			return nil, err
		}
		return &ImportResult{Dataset: name, Epoch: 1, Report: &ImportReport{Rows: 1}}, nil
	}}
	r := newRig(t, f, func(o *Options) { o.Limits.CSVBytes = 10 })
	w := r.do(t, "POST", "/v1/datasets/patients/epochs", "text/csv", "0123456789")
	if w.Code != 201 || read != 10 || !strings.Contains(w.Body.String(), `"report":{"rows":1,`) {
		t.Error(w.Code, read, w.Body)
	}
	if w := r.do(t, "POST", "/v1/datasets/patients/epochs", "text/csv", "0123456789x"); w.Code != 413 {
		t.Error(w.Code, w.Body)
	}
	f.imp = func(string, io.Reader) (*ImportResult, error) {
		p := NewProblem(422, "rows", "2 rows are wrong")
		p.Report = &ImportReport{Problems: []RowProblem{{Line: 3, Column: "age", Reason: "want a whole number"}}}
		return nil, p
	}
	if w := r.do(t, "POST", "/v1/datasets/patients/epochs", "text/csv", "x"); w.Code != 422 || !strings.Contains(w.Body.String(), `"line":3`) {
		t.Error(w.Code, w.Body)
	}
}

func TestDocumentsAndAgreements(t *testing.T) {
	r := newRig(t, &fake{}, nil)
	for _, c := range []struct {
		target, kind, body string
		want               int
	}{
		{"/v1/datasets", "application/yaml", "dataset: x\n", 201},
		{"/v1/datasets", "application/json", `{"dataset":"x"}`, 201},
		{"/v1/datasets", "application/yaml", strings.Repeat("x", maxDocument+1), 413},
		{"/v1/policies", "application/yaml", "policy: x\n", 201},
		{"/v1/agreements", "application/json", `{"holder":"GOV/health","policy":"p","version":1,"purpose":"p","legal_basis":"l","per_subject":1,"total":2,"expires":"2030-01-01T00:00:00Z"}`, 201},
		{"/v1/agreements", "application/json", `{"holder":"GOV/health"}`, 422},
		{"/v1/agreements/accept", "application/json", `{"origin":"demo/GOV/tax/log/1","index":3}`, 409},
		{"/v1/agreements/reject", "application/json", `{"origin":"demo/GOV/tax/log/1","index":3,"reason":"no"}`, 201},
		{"/v1/agreements/revoke", "application/json", `{"accept":3,"reason":"no"}`, 201},
		{"/v1/policies/draft", "application/yaml", "policy: x\n", 200},
		{"/v1/agreements/accept/draft", "application/json", `{"origin":"demo/GOV/tax/log/1","index":3}`, 200},
		{"/v1/groups", "application/json", `{"group":"desks","members":["GOV/health"]}`, 201},
		{"/v1/groups", "application/json", `{"group":"","members":[]}`, 422},
		{"/v1/groups/draft", "application/json", `{"group":"desks","members":[]}`, 200},
		{"/v1/drafts", "application/json", `{"origin":"o","entry":"{}"}`, 409},
		{"/v1/drafts", "application/json", `{"origin":"o"}`, 422},
		{"/v1/drafts", "application/json", `{"origin":"o","entry":"` + strings.Repeat("x", 1<<16) + `"}`, 422},
		{"/v1/person-log/tokens", "application/json", `{"subject":"P-1","hours":24}`, 201},
		{"/v1/person-log/tokens", "application/json", `{"subject":"P-1","hours":0}`, 422},
		{"/v1/person-log/tokens", "application/json", `{"subject":"P-1","hours":745}`, 422},
		{"/v1/scopes", "application/json", `{"program":"fuel","period":"2026","opens":"2026-01-01T00:00:00Z","closes":"2027-01-01T00:00:00Z"}`, 201},
		{"/v1/scopes", "application/json", `{"program":"Fuel","period":"2026","opens":"2026-01-01T00:00:00Z","closes":"2027-01-01T00:00:00Z"}`, 422},
		{"/v1/scopes", "application/json", `{"program":"fuel","period":"2026"}`, 422},
		{"/v1/scopes/close", "application/json", `{"program":"fuel","period":"2026","reason":"over"}`, 201},
		{"/v1/scopes/close", "application/json", `{"period":"2026"}`, 422},
		{"/v1/person-log", "application/json", `{"token":"t"}`, 200},
		{"/v1/person-log", "application/json", `{"token":""}`, 422},
	} {
		if w := r.do(t, "POST", c.target, c.kind, c.body); w.Code != c.want {
			t.Errorf("%s %.40s: %d %s", c.target, c.body, w.Code, w.Body)
		}
	}
}

func TestReadyTellsWhyNot(t *testing.T) {
	f := &fake{ready: []string{"2 of 3 mirrors connected"}}
	r := newRig(t, f, nil)
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != 503 || !strings.Contains(w.Body.String(), "2 of 3 mirrors") {
		t.Error(w.Code, w.Body)
	}
}

func TestListsAreNeverNull(t *testing.T) {
	r := newRig(t, &fake{}, nil)
	for _, target := range []string{"/v1/answers", "/v1/datasets", "/v1/policies", "/v1/scopes", "/v1/claims/x", "/v1/agreements", "/v1/receipts", "/v1/ledger/entries", "/v1/ledger/heads"} {
		if w := r.do(t, "GET", target, "", ""); w.Code != 200 || strings.Contains(w.Body.String(), "null") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestSpecification(t *testing.T) {
	r := newRig(t, &fake{}, nil)
	w := r.do(t, "GET", "/openapi.json", "", "")
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || len(doc.Paths) < 17 {
		t.Errorf("OpenAPI %s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	for path := range doc.Paths {
		if strings.Contains(path, "subject") {
			t.Errorf("a subject in a path: %s", path)
		}
	}
	if y := r.do(t, "GET", "/openapi.yaml", "", ""); y.Code != 200 || !strings.Contains(y.Body.String(), "/v1/queries") {
		t.Error(y.Code)
	}
}

func TestServeRefusesOpenNetworkWithoutTLS(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		r := newRig(t, &fake{}, func(o *Options) { o.Config.Listen = listen })
		if err := r.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "TLS") {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestGracefulShutdown(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	r := newRig(t, &fake{ask: func(context.Context, Question) (*Answer, error) {
		close(entered)
		<-leave
		return &Answer{Verdict: "satisfied"}, nil
	}}, func(o *Options) { o.Config.Listen = "127.0.0.1:0" })
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx) }()
	addr := r.Addr(t.Context())
	status := make(chan int, 1)
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr.String()+"/v1/queries", strings.NewReader(question+"}"))
		req.Header.Set("Authorization", "Bearer "+r.token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	<-entered
	cancel()
	time.Sleep(50 * time.Millisecond)
	close(leave)
	if got := <-status; got != 200 {
		t.Errorf("request in flight at shutdown: %d", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A client that sends its body a byte at a time, or not at all, is cut off.
func TestSlowBody(t *testing.T) {
	r := newRig(t, &fake{}, func(o *Options) { o.Config.Listen = "127.0.0.1:0" })
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx) }()
	conn, err := net.Dial("tcp", r.Addr(t.Context()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "POST /v1/queries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", r.token)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTime + 5*time.Second))
	start := time.Now()
	reply, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(reply), " 408 ") || time.Since(start) > bodyTime+3*time.Second {
		t.Errorf("after %v: %v %q", time.Since(start), err, reply)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
