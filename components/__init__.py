"""What each stage of the pipeline does, in the order in which data flows; `pipeline` joins the stages."""
