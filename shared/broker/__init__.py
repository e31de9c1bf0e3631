"""The doorbell: tells workers that tasks are due. `base` is the contract; RabbitMQ and an in-process one keep it."""
