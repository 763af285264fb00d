// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

interface IERC20 {
    function balanceOf(address account) external view returns (uint256);
}

/// The counterpart of AITBC's `htlc` module on an EVM chain: the same calls, the same ids, the same events.
///
/// Somebody locks ether (asset 0) or an ERC-20 token for whoever shows a secret before a deadline, and gets it back from
/// then on. Anybody may send a claim or a refund: each pays whom the swap names. Nobody owns the contract, nothing can
/// be changed in it, and it takes no fee.
contract HashTimeLock {
    enum Status { None, Open, Claimed, Refunded }

    struct Swap {
        address sender;
        address recipient;
        address asset;
        uint256 value;
        bytes32 hash;
        uint64 deadline;
        Status status;
        bytes32 secret;
    }

    uint256 private constant MAX_LOCK_S = 30 days;

    mapping(bytes32 => Swap) private swaps;

    event Locked(
        bytes32 indexed id, address indexed sender, address indexed recipient,
        address asset, uint256 value, bytes32 hash, uint64 deadline
    );
    event Claimed(bytes32 indexed id, bytes32 secret);
    event Refunded(bytes32 indexed id);

    function lock(bytes32 hash, address recipient, address asset, uint256 value, uint64 deadline)
        external
        payable
        returns (bytes32 id)
    {
        require(value > 0, "nothing to lock");
        require(deadline > block.timestamp && deadline <= block.timestamp + MAX_LOCK_S, "invalid deadline");
        require(recipient != address(0) && recipient != address(this), "invalid recipient");
        require(msg.value == (asset == address(0) ? value : 0), "wrong ether");
        id = keccak256(abi.encode(hash, msg.sender, recipient, asset, value, deadline));
        require(swaps[id].status == Status.None, "swap exists");
        // Before any other contract is called, so that none can lock the same terms again in between.
        swaps[id] = Swap(msg.sender, recipient, asset, value, hash, deadline, Status.Open, bytes32(0));
        emit Locked(id, msg.sender, recipient, asset, value, hash, deadline);
        if (asset != address(0)) {
            uint256 before = IERC20(asset).balanceOf(address(this));
            callToken(asset, abi.encodeWithSignature(
                "transferFrom(address,address,uint256)", msg.sender, address(this), value
            ));
            // A token that keeps a part of each transfer would be paid out of other swaps.
            require(IERC20(asset).balanceOf(address(this)) == before + value, "token took a fee");
        }
    }

    function claim(bytes32 id, bytes32 secret) external {
        Swap storage found = swaps[id];
        require(found.status == Status.Open, "not open");
        require(block.timestamp < found.deadline, "deadline passed");
        require(sha256(abi.encodePacked(secret)) == found.hash, "wrong secret");
        found.status = Status.Claimed;
        found.secret = secret;
        emit Claimed(id, secret);
        pay(found.asset, found.recipient, found.value);
    }

    function refund(bytes32 id) external {
        Swap storage found = swaps[id];
        require(found.status == Status.Open, "not open");
        require(block.timestamp >= found.deadline, "deadline ahead");
        found.status = Status.Refunded;
        emit Refunded(id);
        pay(found.asset, found.sender, found.value);
    }

    function swap(bytes32 id)
        external
        view
        returns (
            address sender, address recipient, address asset, uint256 value,
            bytes32 hash, uint64 deadline, uint8 status, bytes32 secret
        )
    {
        Swap storage found = swaps[id];
        return (
            found.sender, found.recipient, found.asset, found.value,
            found.hash, found.deadline, uint8(found.status), found.secret
        );
    }

    function pay(address asset, address to, uint256 value) private {
        if (asset == address(0)) {
            (bool paid,) = to.call{value: value}("");
            require(paid, "ether refused");
        } else {
            callToken(asset, abi.encodeWithSignature("transfer(address,uint256)", to, value));
        }
    }

    /// Some tokens return nothing where EIP-20 has them return true.
    function callToken(address asset, bytes memory data) private {
        require(asset.code.length > 0, "no token");
        (bool done, bytes memory answer) = asset.call(data);
        require(done && (answer.length == 0 || abi.decode(answer, (bool))), "token refused");
    }
}
