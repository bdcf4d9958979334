package api

import (
	"strings"
	"testing"
)

const oneCase = "0123456789abcdef0123456789abcdef"

func TestPrograms(t *testing.T) {
	r := newRig(t, &fake{}, nil)
	for _, c := range []struct {
		method, path, kind, body string
		status                   int
		want                     string
	}{
		{"GET", "/v1/programs", "", "", 200, `{"items":[]}`},
		{"GET", "/v1/programs/fuel", "", "", 200, `"program":"fuel"`},
		{"GET", "/v1/programs/heat", "", "", 404, "not_found"},
		{"GET", "/v1/programs/Fuel", "", "", 422, "path.name"},
		{"POST", "/v1/programs", "application/yaml", "program: fuel\n", 201, `"index":9`},
		{"POST", "/v1/programs/fuel/retire", "application/json", `{"version":1,"reason":"replaced"}`, 201, `"index":10`},
		{"POST", "/v1/programs/fuel/retire", "application/json", `{"version":0,"reason":"replaced"}`, 422, "body.version"},
		{"POST", "/v1/cases", "application/json", `{"program":"fuel","subjects":{"applicant":"` + secret + `"}}`, 200, oneCase},
		{"POST", "/v1/cases", "application/json", `{"program":"fuel","subjects":{}}`, 422, "one subject"},
		{"POST", "/v1/cases", "application/json", `{"program":"fuel","subjects":"` + secret + `"}`, 422, "body.subjects"},
		{"POST", "/v1/cases", "application/json", `{"program":"fuel","subjects":{"a":"b"},"wait":601}`, 422, "body.wait"},
		{"POST", "/v1/cases?subject=" + secret, "application/json", `{"program":"fuel","subjects":{"a":"b"}}`, 422, "query"},
		{"GET", "/v1/cases?state=needs_review", "", "", 200, `"state":"needs_review"`},
		{"GET", "/v1/cases?state=" + secret, "", "", 422, "query.state"},
		{"GET", "/v1/cases/" + oneCase, "", "", 200, oneCase},
		{"GET", "/v1/cases/" + secret, "", "", 422, "path.id"},
		{"GET", "/v1/cases/" + oneCase + "/decision", "", "", 200, `{"v":1}`},
		{"GET", "/v1/cases/" + oneCase + "/decision?round=1", "", "", 404, "no such decision"},
		{"POST", "/v1/cases/" + oneCase + "/contest", "application/json", `{"reason":"not so"}`, 200, `"case":"` + oneCase + `"`},
		{"POST", "/v1/cases/" + oneCase + "/contest", "application/json", `{"reason":""}`, 422, "body.reason"},
		{"POST", "/v1/cases/" + oneCase + "/review", "application/json", `{"granted":true,"officer":"17","reason":"seen"}`, 200, `"case":"` + oneCase + `"`},
		{"POST", "/v1/cases/" + oneCase + "/review", "application/json", `{"granted":true,"reason":"seen"}`, 422, "body"},
	} {
		w := r.do(t, c.method, c.path, c.kind, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s %s %s: %d %s, want %d with %s", c.method, c.path, c.body, w.Code, w.Body, c.status, c.want)
		}
	}
	if strings.Contains(r.log.String(), secret) {
		t.Error("the log holds what a caller sent")
	}
}
