package userkit

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryCodeIsInTheTableOnce(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	require.NoError(t, err)
	declared := map[Code]bool{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if ident, typed := specType(spec, ok); typed && ident == "Code" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			require.False(t, declared[Code(text)], "%s is declared twice", text)
			declared[Code(text)] = true
		}
		return true
	})
	require.NotEmpty(t, declared)
	for _, info := range Codes() {
		require.True(t, declared[info.Code], "%s is in the table and not declared", info.Code)
		delete(declared, info.Code)
		require.NotEmpty(t, info.Meaning)
	}
	require.Empty(t, declared, "declared and not in the table, or twice in it")
}

func specType(spec *ast.ValueSpec, ok bool) (string, bool) {
	if !ok || len(spec.Values) != 1 {
		return "", false
	}
	ident, typed := spec.Type.(*ast.Ident)
	if !typed {
		return "", false
	}
	return ident.Name, true
}

func TestErrorIsItsKindAndItsCause(t *testing.T) {
	err := fmt.Errorf("signing up: %w", NewError(CodeLoginTaken, "login", "%q", "ada").Because(io.EOF))
	require.ErrorIs(t, err, ErrExists)
	require.ErrorIs(t, err, io.EOF)
	require.NotErrorIs(t, err, ErrInvalid)
	require.Equal(t, CodeLoginTaken, ErrorCode(err))
	e, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	require.Equal(t, "login", e.Field)
	require.Equal(t, `signing up: userkit: login_taken (login): "ada": EOF`, err.Error())
	require.Equal(t, Code(""), ErrorCode(io.EOF))
	require.Panics(t, func() { _ = NewError("nonsense", "", "") })
}
