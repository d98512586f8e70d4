"""`sinkscope pretrain`: from a recipe to a trained model, a folder per seed."""
