package rpcerr

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/getviewport/relay/internal/reason"
)

func TestEveryReasonArrivesAtThePeerAsItWasSent(t *testing.T) {
	for _, code := range reason.All() {
		info, _ := reason.Lookup(code)
		sent := reason.New(code, "").After(1500*time.Millisecond).With("limit", "links per address")
		err := Status(sent)
		if info.GRPC != codes.OK && status.Code(err) != info.GRPC {
			t.Errorf("%s: got gRPC code %v, want %v", code, status.Code(err), info.GRPC)
		}
		got := From(err)
		if got == nil {
			t.Fatalf("%s: no reason in %v", code, err)
		}
		want := &reason.Error{Code: code, Text: sent.Message(), RetryAfter: sent.RetryAfter, Meta: sent.Meta}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", code, got, want)
		}
	}
}

func TestAnErrorThatIsNotOfTheRelayHasNoReason(t *testing.T) {
	for _, err := range []error{status.Error(codes.Unavailable, "502 from a proxy"), errors.New("x")} {
		if got := From(err); got != nil {
			t.Errorf("%v: got %v, want nil", err, got)
		}
	}
}
