"""Commands that need ROS messages or bags; each module has `main(arguments)`."""
