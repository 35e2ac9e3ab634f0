"""Training objectives: ``base.py`` holds Term, Phase and Loss; the rest are the objectives by kind."""
