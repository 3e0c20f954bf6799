// Package mocktest checks the verifier of Stripe subscriptions against stripe-mock,
// the server that Stripe publishes for testing clients: it refuses requests that the
// OpenAPI description of the Stripe API does not allow, and answers with objects of
// its schemas. It is a module of its own, so that users of the library get none of
// what stripe-mock depends on.
package mocktest
