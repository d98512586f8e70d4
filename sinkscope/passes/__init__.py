"""What every verb shares that runs a model over windows of text: it cuts them into batches and takes the losses."""
