"""`sinkscope finetune`: a finished model trained on, with V-scale, a control without it, and a report of both."""
