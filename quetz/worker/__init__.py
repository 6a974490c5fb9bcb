"""Work beside the requests: the publisher and what is batched."""
