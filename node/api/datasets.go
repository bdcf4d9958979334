package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// document is a body that a parser of ours reads: YAML, of which JSON is a part.
type document struct {
	RawBody []byte `contentType:"application/yaml" doc:"The document, YAML or JSON"`
}

// documentOperation is what declaring and publishing have in common.
func (s *Server) documentOperation(id, path, tag, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Tags: []string{tag}, Summary: summary,
		DefaultStatus: http.StatusCreated, MaxBodyBytes: maxDocument, BodyReadTimeout: bodyTime, SkipValidateBody: true,
		Middlewares: huma.Middlewares{s.extend(publishTime)}, Errors: []int{401, 409, 413, 422, 503, 504},
	}
}

type published struct{ Body Published }

func (s *Server) registerDatasets() {
	huma.Register(s.api, huma.Operation{
		OperationID: "datasets", Method: http.MethodGet, Path: "/v1/datasets", Tags: []string{"datasets"},
		Summary: "List this gateway's datasets", Errors: []int{401},
	}, func(context.Context, *struct{}) (*struct{ Body list[Dataset] }, error) {
		return &struct{ Body list[Dataset] }{listOf(s.o.Gateway.Datasets())}, nil
	})

	huma.Register(s.api, s.documentOperation("declare-dataset", "/v1/datasets", "datasets",
		"Declare a dataset: its schema, and how a CSV maps to it"),
		func(ctx context.Context, in *document) (*published, error) {
			return s.publish(ctx, "declare-dataset", func(ctx context.Context) (Published, error) {
				return s.o.Gateway.DeclareDataset(ctx, in.RawBody)
			})
		})

	huma.Register(s.api, huma.Operation{
		OperationID: "import-epoch", Method: http.MethodPost, Path: "/v1/datasets/{name}/epochs", Tags: []string{"datasets"},
		Summary: "Import a CSV as the dataset's new epoch",
		Description: "All rows or none. What is wrong is reported by line and column with 422, and no value is repeated. The " +
			"body is read as a stream.",
		DefaultStatus: http.StatusCreated,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}}},
		Middlewares: huma.Middlewares{s.extend(importTime)}, Errors: []int{401, 404, 409, 413, 422, 503},
	}, func(ctx context.Context, in *importInput) (*struct{ Body *ImportResult }, error) {
		csv := &bounded{r: in.body, left: s.o.Limits.CSVBytes}
		result, err := s.o.Gateway.Import(ctx, in.Name, csv)
		if csv.over {
			return nil, NewProblem(http.StatusRequestEntityTooLarge, CodeTooLarge, "the CSV is larger than this gateway's limits.csv_bytes")
		}
		if err != nil {
			return nil, s.fail("import-epoch", err)
		}
		return &struct{ Body *ImportResult }{result}, nil
	})
}

// publish waits for an entry to be final, for at most publishTime.
func (s *Server) publish(ctx context.Context, operation string, do func(context.Context) (Published, error)) (*published, error) {
	waiting, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	entry, err := do(waiting)
	var p *Problem
	if err != nil && !errors.As(err, &p) && waiting.Err() != nil {
		return nil, NewProblem(http.StatusGatewayTimeout, CodeTimeout,
			"the entry is not final yet: a quorum of mirrors has to be reachable; repeat the request, it changes nothing twice")
	}
	if err != nil {
		return nil, s.fail(operation, err)
	}
	return &published{entry}, nil
}

// importInput takes the body as a stream, which huma's body fields do not.
type importInput struct {
	Name string `path:"name" maxLength:"64" pattern:"^[a-z0-9][a-z0-9._-]*$" patternDescription:"a dataset's name" doc:"The dataset's name"`
	body io.Reader
}

// Resolve keeps the stream and gives it its time.
func (in *importInput) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	_ = ctx.SetReadDeadline(time.Now().Add(importTime)) // unsupported only by test recorders
	return nil
}

// bounded reads at most left bytes and notes when there are more.
type bounded struct {
	r    io.Reader
	left int64
	over bool
}

var errTooLarge = errors.New("body over its bound")

func (b *bounded) Read(p []byte) (int, error) {
	if b.over {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if int64(n) > b.left {
		b.over = true
		return 0, errTooLarge
	}
	b.left -= int64(n)
	return n, err
}
